"""The slash commands. Each acknowledges first, then asks the service."""

from __future__ import annotations

import logging
import re
import tempfile
from pathlib import Path

import discord
from discord import app_commands

from bot.discord_front.progress import caller_of, progress_view
from bot.discord_front.render import answer_text, fitting, literal, models_text, progress_text
from bot.records import JobView
from bot.service import MAX_COUNT, MAX_NAME_CHARS, Service
from models.errors import UserError

log = logging.getLogger(__name__)

APOLOGY = "Something went wrong on my side. The operator finds it in the log."
MAX_CHOICES = 25  # of an autocomplete, by Discord
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")

HELP = (
    "**Mockingbird** writes posts in the voice of an account whose posts it has learned from. "
    "All of it is made up by a machine.\n"
    "`/say` posts in a voice; give it a beginning, choose a model\n"
    "Mention me, and I answer\n"
    "`/models list` the models here\n"
    "`/train` learn a voice: attach an X archive's `tweets.js` or ZIP, or a `.jsonl` file (needs Manage Server)\n"
    "`/jobs list` · `/jobs cancel` trainings\n"
    "`/status` how I am"
)


def add_commands(tree: app_commands.CommandTree, service: Service) -> None:
    """Put all commands into the tree."""

    async def complete_model(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        typed = typed.lower()
        found = [m for m in service.models(caller_of(interaction)) if typed in m.name.lower()]
        return [
            app_commands.Choice(name=f"{m.name} (v{m.version}, {m.posts:,} posts)"[:100], value=m.name)
            for m in found[:MAX_CHOICES]
        ]

    @tree.command(description="Posts in the voice of an account that I have learned")
    @app_commands.describe(
        prompt="How the post begins", model="Whose voice; the newest if you leave it out", count="How many posts"
    )
    @app_commands.autocomplete(model=complete_model)
    async def say(
        interaction: discord.Interaction,
        prompt: str = "",
        model: str | None = None,
        count: app_commands.Range[int, 1, MAX_COUNT] = 1,
    ) -> None:
        await interaction.response.defer(thinking=True)
        answer = await service.say(caller_of(interaction), prompt=prompt, model=model, count=count)
        await interaction.followup.send(answer_text(answer), suppress_embeds=True)

    @tree.command(description="Learn the voice of an account from its posts")
    @app_commands.describe(
        handles="Whose posts they are, like @nasa; the archive tells if you leave it out",
        archive="An X archive (ZIP or data/tweets.js), or .jsonl with one post a line",
        notes="The archive's data/note-tweet.js, for posts over 280 characters",
        name="What to call the model",
    )
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.guild_only()
    async def train(
        interaction: discord.Interaction,
        handles: str = "",
        archive: discord.Attachment | None = None,
        notes: discord.Attachment | None = None,
        name: app_commands.Range[str, 1, MAX_NAME_CHARS] | None = None,
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        channel = interaction.channel
        if not isinstance(channel, discord.abc.Messageable) or not interaction.app_permissions.send_messages:
            raise UserError(
                "I can't write in this channel. Give me View Channel and Send Messages here, then try again."
            )
        with tempfile.TemporaryDirectory(prefix="mockingbird-") as folder:
            files = [
                await _download(attachment, Path(folder), service)
                for attachment in (archive, notes)
                if attachment is not None
            ]
            job = await service.train(
                caller_of(interaction), handles=handles.replace(",", " ").split(), files=files, name=name
            )
        message = await channel.send(progress_text(JobView(job=job)), view=progress_view(job) or discord.utils.MISSING)
        await service.show_job_at(job.id, message.channel.id, message.id)
        await interaction.followup.send(f"Job #{job.id} is in the queue: {message.jump_url}", ephemeral=True)
        interaction.client.follow(await service.job(caller_of(interaction), job.id))  # type: ignore[attr-defined]

    models = app_commands.Group(name="models", description="The voices that I have learned")

    @models.command(name="list", description="The models that you can use here")
    async def models_list(interaction: discord.Interaction) -> None:
        await interaction.response.send_message(models_text(service.models(caller_of(interaction))), ephemeral=True)

    jobs = app_commands.Group(name="jobs", description="Trainings", guild_only=True)

    @jobs.command(name="list", description="The latest trainings here")
    async def jobs_list(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        lines = [
            f"#{job.id} **{literal(job.title)}** {job.state.value} · <t:{int(job.created_at.timestamp())}:R>"
            + (f" · {literal(job.error)}" if job.error else "")
            for job in await service.jobs(caller_of(interaction))
        ]
        await interaction.followup.send(fitting(lines or ["There has been no training here yet."], ""), ephemeral=True)

    @jobs.command(name="cancel", description="Stop a training, or take it out of the queue")
    @app_commands.describe(job="Its number, as /jobs list shows it")
    async def jobs_cancel(interaction: discord.Interaction, job: app_commands.Range[int, 1]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await service.cancel(caller_of(interaction), job)
        await interaction.followup.send(f"Job #{job} is being cancelled.", ephemeral=True)

    @tree.command(description="How I am")
    async def status(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        found = await service.status()
        visible = len(service.models(caller_of(interaction)))
        text = f"Engine: {found.engine} · {visible} models here · {found.waiting_jobs} trainings to do"
        await interaction.followup.send(text, ephemeral=True)

    @tree.command(name="help", description="What I can do, and how")
    async def show_help(interaction: discord.Interaction) -> None:
        await interaction.response.send_message(HELP, ephemeral=True)

    tree.add_command(models)
    tree.add_command(jobs)

    @tree.error
    async def on_error(interaction: discord.Interaction, error: app_commands.AppCommandError) -> None:
        cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
        await respond_to_error(interaction, cause)


async def respond_to_error(interaction: discord.Interaction, error: Exception) -> None:
    """Tell who asked what to do, if it is theirs to mend; else apologise, and tell the operator by the log."""
    if isinstance(error, discord.NotFound) and error.code == 10062:  # acknowledged too late, or twice
        log.warning("an interaction was gone before it could be answered")
        return
    if isinstance(error, UserError):
        text = fitting([literal(str(error))], "")
    else:
        log.error("/%s failed", interaction.command.qualified_name if interaction.command else "?", exc_info=error)
        text = APOLOGY
    try:
        if interaction.response.is_done():
            await interaction.followup.send(text, ephemeral=True)
        else:
            await interaction.response.send_message(text, ephemeral=True)
    except discord.HTTPException as exc:
        log.warning("an error could not be shown: %s", exc)


async def _download(attachment: discord.Attachment, folder: Path, service: Service) -> Path:
    limit_mb = service.config.discord.max_attachment_mb
    if attachment.size > limit_mb << 20:
        raise UserError(
            f"{attachment.filename} is too large: at most {limit_mb} MB. The operator can train it by console."
        )
    path = folder / (_UNSAFE.sub("_", attachment.filename)[-80:].lstrip(".") or "posts")
    try:
        await attachment.save(path)
    except discord.HTTPException as exc:
        raise UserError(f"Discord did not hand me {attachment.filename}. Try to attach it again.") from exc
    return path
