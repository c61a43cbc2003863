"""A job's progress on the bot's own channel message, edited with the bot's token: interaction tokens die young."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import aclosing
from typing import Any, Self

import discord

from bot.discord_front.render import fitting, literal, progress_text
from bot.records import Caller, Job, JobState, JobView
from bot.service import Service
from models.errors import UserError

log = logging.getLogger(__name__)

RETRY_DELAYS_S = (1.0, 5.0, 30.0, 120.0)  # for what has to arrive: the last edit and the announcement
FIRST_POSTS = 3


class CancelButton(discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=r"cancel:(?P<job>\d+)"):
    """Cancels a job. Its job's number is in its custom id, so it outlives restarts."""

    def __init__(self, job_id: int) -> None:
        self.job_id = job_id
        button = discord.ui.Button[discord.ui.View](
            label="Cancel", style=discord.ButtonStyle.secondary, custom_id=f"cancel:{job_id}"
        )
        super().__init__(button)

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(int(match["job"]))

    async def callback(self, interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        service: Service = interaction.client.service  # type: ignore[attr-defined]
        try:
            await service.cancel(caller_of(interaction), self.job_id)
            text = f"Job #{self.job_id} is being cancelled."
        except UserError as exc:
            text = literal(str(exc))
        await interaction.followup.send(text, ephemeral=True)


def caller_of(interaction: discord.Interaction) -> Caller:
    """Who asks. In a direct message the member's own id stands for the server."""
    return Caller(
        server_id=interaction.guild_id or interaction.user.id,
        user_id=interaction.user.id,
        channel_id=interaction.channel_id,
        may_manage=interaction.guild_id is not None and interaction.permissions.manage_guild,
    )


def progress_view(job: Job) -> discord.ui.View | None:
    """The buttons of a progress message: none once the job is over."""
    if job.state.is_over:
        return None
    view = discord.ui.View(timeout=None)
    view.add_item(CancelButton(job.id))
    return view


async def follow(client: discord.Client, service: Service, job: Job) -> None:
    """Keep the job's message up to date, at most one edit per interval, and at the end say so in a new message.

    A message or a channel that is gone ends the editing, not the job.
    """
    assert job.channel_id and job.message_id
    channel = client.get_partial_messageable(job.channel_id)
    message: discord.PartialMessage | None = channel.get_partial_message(job.message_id)
    interval_s = service.config.discord.progress_every_s
    shown = ""
    view = JobView(job=job)
    async with aclosing(service.watch(job.id)) as views:
        async for view in views:
            if view.job.state.is_over or message is None:
                continue
            text = progress_text(view)
            if text != shown:
                shown = text
                if not await _edit(message, view):
                    message = None
                await asyncio.sleep(interval_s)
    if message is not None:
        for delay_s in (*RETRY_DELAYS_S, None):
            if await _edit(message, view) or delay_s is None:
                break
            await asyncio.sleep(delay_s)
    await _announce(channel, service, view.job)


async def _edit(message: discord.PartialMessage, view: JobView) -> bool:
    """Whether there is still a message to edit; trouble on Discord's side is mended by the next edit."""
    try:
        await message.edit(content=progress_text(view), view=progress_view(view.job))
    except (discord.NotFound, discord.Forbidden):
        return view.job.state.is_over
    except (discord.HTTPException, OSError) as exc:
        log.warning("progress of job %d not shown: %s", view.job.id, exc)
        return not view.job.state.is_over
    return True


async def _announce(channel: discord.PartialMessageable, service: Service, job: Job) -> None:
    """Tell who asked how it ended, once: an edit notifies nobody."""
    text = await _announcement(service, job)
    for delay_s in (*RETRY_DELAYS_S, None):
        try:
            await channel.send(text, allowed_mentions=discord.AllowedMentions(users=[discord.Object(job.user_id)]))
        except (discord.NotFound, discord.Forbidden) as exc:
            log.warning("job %d: its channel can't be told: %s", job.id, exc)
        except (discord.HTTPException, OSError) as exc:
            log.warning("job %d: not announced yet: %s", job.id, exc)
            if delay_s is not None:
                await asyncio.sleep(delay_s)
                continue
        await service.registry.set_announced(job.id)
        return


async def _announcement(service: Service, job: Job) -> str:
    who = f"<@{job.user_id}>"
    match job.state:
        case JobState.CANCELLED:
            return f"{who} The training of **{literal(job.title)}** (job #{job.id}) is cancelled."
        case JobState.FAILED:
            return fitting(
                [f"{who} The training of **{literal(job.title)}** (job #{job.id}) failed.", literal(job.error or "")],
                "",
            )
        case _:
            lines = [f"{who} **{literal(job.title)}** version {job.version} is ready: `/say model:{job.title}`"]
            caller = Caller(server_id=job.server_id, user_id=job.user_id)
            try:
                answer = await service.say(caller, model=job.model, count=FIRST_POSTS)
                lines += [f"> {literal(text)}" for text in answer.texts]
            except UserError as exc:
                lines.append(literal(str(exc)))
            return fitting(lines, "-# AI imitation: none of this was said by the account.")
