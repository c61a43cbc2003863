"""What trainers use: /train and /jobs."""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path
from typing import Any, cast, get_args

import aiohttp
import discord
from discord import app_commands

from bot.discord_front.access import admitted
from bot.discord_front.respond import answer, privately, think
from bot.discord_front.trainings import begin, cancel_job, jobs_page, require_writable, retry_job
from bot.discord_front.translator import choices, command, group
from bot.permits import require
from bot.plans import MAX_NAME_CHARS, SOURCES
from bot.service import Service
from models.errors import UserError
from models.records import Ground

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
Interaction = discord.Interaction[Any]


def add_trainer_commands(tree: app_commands.CommandTree[Any], service: Service) -> None:
    """Put them into the tree."""

    @command(tree, "train")
    @app_commands.choices(source=choices("source", *SOURCES), ground=choices("ground", *get_args(Ground)))
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.guild_only()
    async def train(
        interaction: Interaction,
        handles: str = "",
        archive: discord.Attachment | None = None,
        archive2: discord.Attachment | None = None,
        archive3: discord.Attachment | None = None,
        archive4: discord.Attachment | None = None,
        ground: str | None = None,
        source: str | None = None,
        name: app_commands.Range[str, 1, MAX_NAME_CHARS] | None = None,
    ) -> None:
        await think(interaction)
        require_writable(interaction)
        caller = await admitted(interaction, "train")
        require(await service.permits.training(caller))  # before anything is downloaded
        with tempfile.TemporaryDirectory(prefix="mockingbird-") as folder:
            files = []
            for number, attachment in enumerate((archive, archive2, archive3, archive4)):
                if attachment is not None:
                    files.append(await _download(interaction, attachment, Path(folder) / str(number), service))
            plan = await service.plan(
                caller,
                handles=handles.replace(",", " ").split(),
                files=files,
                source=source,
                name=name,
                ground=cast(Ground | None, ground),
            )
            await begin(interaction, caller, plan)

    jobs = group("jobs", guild_only=True)

    @command(jobs, "jobs.list")
    async def jobs_list(interaction: Interaction) -> None:
        await think(interaction)
        await answer(interaction, **await jobs_page(interaction))

    @command(jobs, "jobs.cancel")
    async def jobs_cancel(interaction: Interaction, job: app_commands.Range[int, 1]) -> None:
        await cancel_job(interaction, job)

    @command(jobs, "jobs.retry")
    async def jobs_retry(interaction: Interaction, job: app_commands.Range[int, 1]) -> None:
        await retry_job(interaction, job)

    tree.add_command(jobs)


async def _download(interaction: Interaction, attachment: discord.Attachment, folder: Path, service: Service) -> Path:
    say, limit_mb = privately(interaction), service.config.discord.max_attachment_mb
    if attachment.size > limit_mb << 20:
        raise UserError(say("train.too_large", file=attachment.filename, limit=limit_mb))
    await asyncio.to_thread(folder.mkdir)
    path = folder / (_UNSAFE.sub("_", attachment.filename)[-80:].lstrip(".") or "posts")
    try:
        await attachment.save(path)
    except (discord.HTTPException, aiohttp.ClientError, TimeoutError) as exc:
        raise UserError(say("train.gone", file=attachment.filename)) from exc
    return path
