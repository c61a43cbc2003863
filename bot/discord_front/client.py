"""The Discord client: logs in, syncs the commands when they changed, hands events on, takes up progress messages."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from typing import Any
from urllib.parse import urlsplit

import discord
import yarl
from discord import app_commands

from bot.discord_front import settings_panel, shelf, speaking, trainings
from bot.discord_front.access import Grants
from bot.discord_front.api import DISCORD, TROUBLE, api_base
from bot.discord_front.commands import add_commands
from bot.discord_front.commands.admins import EraseMe
from bot.discord_front.components import Component, data_of
from bot.discord_front.conversation import Conversation
from bot.discord_front.persona import Personas
from bot.discord_front.progress import ProgressMessage
from bot.discord_front.respond import answer, answer_error, privately
from bot.discord_front.translator import Catalogue
from bot.progress import duration
from bot.records import Caller, Job, ModelVersion
from bot.service import Service
from bot.strings import Strings, strings
from models.errors import SetupError

log = logging.getLogger(__name__)

RESTART_DELAYS_S = (1.0, 5.0, 30.0, 120.0, 600.0)  # a tight loop of logins costs the token
STEADY_S = 600.0  # after that a client that dies is followed by another at once
OUTAGE_S = 60.0  # without a connection before its end is worth a word
SETTLE_S = 10.0  # for the last answers and edits, when the bot stops
ANSWERING = ("CommandTree-", "discord-ui-", "discord.py: on_")  # what discord.py calls the tasks that run our code
NEEDED = discord.Permissions(
    view_channel=True, send_messages=True, send_messages_in_threads=True, read_message_history=True, attach_files=True
)
COMPONENTS: tuple[type[Component], ...] = (
    speaking.SayAgain,
    speaking.AnswerAgain,
    speaking.SayOne,
    speaking.Delete,
    speaking.AnswerAs,
    speaking.VoicePage,
    trainings.Cancel,
    trainings.Confirm,
    trainings.Retry,
    trainings.JobsPage,
    shelf.ModelsPage,
    shelf.VersionsPage,
    shelf.Restore,
    settings_panel.Choice,
    settings_panel.Toggle,
    settings_panel.OpenLimits,
    EraseMe,
)


class Mockingbird(discord.AutoShardedClient):
    """One login, with as many shards as Discord asks for. The service outlives it."""

    def __init__(self, service: Service) -> None:
        # None of these is privileged: a message that mentions the bot comes with its content.
        intents = discord.Intents(guilds=True, guild_messages=True, dm_messages=True)
        intents.message_content = service.config.discord.message_content
        super().__init__(
            intents=intents,
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,
            guild_ready_timeout=0.5,
        )
        self.service = service
        self.grants = Grants(self)
        self.personas = Personas(self)
        self.conversation = Conversation(self)
        self.tree = app_commands.CommandTree(self)
        self._tasks: set[asyncio.Task[None]] = set()
        self._followed: set[int] = set()  # jobs whose progress is being shown
        self._lost_at: float | None = None
        self._ready_at: float | None = None
        add_commands(self.tree, service)
        self.tree.error(answer_error)

    async def setup_hook(self) -> None:
        self.add_dynamic_items(*COMPONENTS)
        await self.tree.set_translator(Catalogue())
        await self._sync()
        for job in await self.service.registry.to_announce():
            self._follow(ProgressMessage(self, job), job)

    async def on_ready(self) -> None:
        assert self.user and self.application_id
        self._ready_at = self._ready_at or time.monotonic()
        log.info("logged in as %s: %d servers, %d shards", self.user, len(self.guilds), self.shard_count or 1)
        log.info("invite: %s", discord.utils.oauth_url(self.application_id, permissions=NEEDED))

    async def on_message(self, message: discord.Message) -> None:
        try:
            await self.conversation.hear(message)
        except TROUBLE as exc:
            log.warning("a message could not be answered: %s", exc)
        except Exception:
            log.exception("a message could not be answered")

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Forms, which discord.py would forget at a restart, and buttons that nobody knows any more."""
        custom_id = str(data_of(interaction).get("custom_id", ""))
        try:
            if interaction.type == discord.InteractionType.modal_submit:
                await self._take_form(interaction, custom_id)
            elif interaction.type == discord.InteractionType.component and not any(
                kind.__discord_ui_compiled_template__.fullmatch(custom_id) for kind in COMPONENTS
            ):
                await answer(interaction, privately(interaction)("error.old_button"))
        except Exception as exc:
            await answer_error(interaction, exc)

    async def on_guild_join(self, guild: discord.Guild) -> None:
        channel = guild.system_channel
        if channel and channel.permissions_for(guild.me).send_messages:
            await channel.send(strings(guild.preferred_locale.value)("help.welcome"))

    async def on_raw_app_command_permissions_update(self, event: discord.RawAppCommandPermissionsUpdateEvent) -> None:
        self.grants.forget(event.guild.id)

    async def on_shard_disconnect(self, shard_id: int) -> None:
        self._lost_at = self._lost_at or time.monotonic()

    async def on_shard_connect(self, shard_id: int) -> None:
        self._tell_that_it_is_back()

    async def on_shard_resumed(self, shard_id: int) -> None:
        self._tell_that_it_is_back()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().close()

    @property
    def is_steady(self) -> bool:
        """Whether it has served for a while."""
        return self._ready_at is not None and time.monotonic() - self._ready_at > STEADY_S

    async def settle(self) -> None:
        """Let what is being answered be answered, and the progress messages say that the jobs are paused."""
        unfinished = {task for task in asyncio.all_tasks() if task.get_name().startswith(ANSWERING)} | self._tasks
        if unfinished and self.is_ready():
            await asyncio.wait(unfinished, timeout=SETTLE_S)

    # --- what commands and buttons use --------------------------------------------------------------------------------

    async def show_progress(self, job: Job) -> str:
        """Show a job's progress in its channel from now on; returns the message's address, or the channel's."""
        message = ProgressMessage(self, job)
        try:
            link = await message.post()
        except TROUBLE as exc:  # the job runs all the same; whoever follows it tries again
            log.warning("job %d: its progress can't be shown yet: %s", job.id, exc)
            link = f"<#{job.channel_id}>"
        self._follow(message, job)
        return link

    def speaks_as_model(self, caller: Caller, channel: Any) -> bool:
        """Whether the bot speaks under the model's name there."""
        return self.service.settings.of(caller.server_id).persona and self.personas.can_speak(channel)

    async def speak_as_model(
        self, channel: Any, model: ModelVersion, say: Strings, view: discord.ui.View, parts: dict[str, Any]
    ) -> discord.Message:
        """Send a message under the model's name; under the bot's own where Discord lets it have no webhook."""
        try:
            return await self.personas.speak(channel, model, say, view=view, **parts)
        except discord.HTTPException as exc:
            log.warning("no webhook for channel %d: %s", channel.id, exc)
            sent: discord.Message = await channel.send(view=view, suppress_embeds="embed" not in parts, **parts)
            return sent

    def language_of(self, server_id: int) -> Strings:
        """The language of a server."""
        guild = self.get_guild(server_id)
        return strings(guild.preferred_locale.value if guild else None)

    async def tell(self, server_id: int, event: str, **facts: object) -> None:
        """Write what an admin or a trainer did into the server's log channel, if it has one."""
        channel_id = self.service.settings.of(server_id).log_channel
        if channel_id is None:
            return
        text = self.language_of(server_id)(f"log_channel.{event}", **facts)
        try:
            await self.get_partial_messageable(channel_id).send(text, suppress_embeds=True)
        except TROUBLE as exc:
            log.warning("the log channel of server %d can't be written to: %s", server_id, exc)

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _take_form(self, interaction: discord.Interaction[Any], custom_id: str) -> None:
        if custom_id == settings_panel.LIMITS_FORM:
            await settings_panel.change_limits(interaction)
        elif custom_id.startswith(shelf.DELETE_FORM):
            await shelf.delete_model(interaction, int(custom_id.removeprefix(shelf.DELETE_FORM)))
        else:
            await answer(interaction, privately(interaction)("error.old_button"))

    def _follow(self, message: ProgressMessage, job: Job) -> None:
        """Show the job's progress from now on, once: two would announce its end twice."""
        if job.id in self._followed:
            return
        self._followed.add(job.id)
        task = asyncio.create_task(message.follow(), name=f"progress of job {job.id}")
        self._tasks.add(task)
        task.add_done_callback(self._disown)

    def _disown(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s ended badly", task.get_name(), exc_info=error)

    def _tell_that_it_is_back(self) -> None:
        if self._lost_at is not None:
            away_s = time.monotonic() - self._lost_at
            self._lost_at = None
            if away_s > OUTAGE_S:
                log.warning("Discord is back after %s", duration(away_s))

    async def _sync(self) -> None:
        """Tell Discord the commands, only if they are others than last time: it allows few such calls a day."""
        translator = self.tree.translator
        assert translator is not None
        payload = [await c.get_translated_payload(self.tree, translator) for c in self.tree.get_commands()]
        digest = hashlib.sha256(json.dumps([self.application_id, payload], sort_keys=True).encode()).hexdigest()
        if await self.service.registry.setting("commands") != digest:
            await self.tree.sync()
            await self.service.registry.set_setting("commands", digest)
            log.info("commands synced")


async def run_discord(service: Service, token: str) -> None:
    """Serve Discord until cancelled; then drain. A client that dies is replaced.

    SetupError if Discord refuses the token, or an intent that the config asks for.
    """
    _use_stand_in()
    logging.getLogger("discord.app_commands.tree").addFilter(_is_news)
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # it speaks in writing only
    failures = 0
    while True:
        client = Mockingbird(service)
        try:
            async with client:
                try:
                    await client.start(token)
                except asyncio.CancelledError:
                    await service.drain()
                    await client.settle()
                    raise
            return  # closed on purpose
        except discord.LoginFailure as exc:
            raise SetupError(
                "Discord refuses the token in DISCORD_TOKEN. Reset it on https://discord.com/developers/applications "
                "(your application > Bot > Reset Token) and set it again."
            ) from exc
        except discord.PrivilegedIntentsRequired as exc:
            raise SetupError(
                "Discord refuses the message content intent. Switch it on at "
                "https://discord.com/developers/applications (your application > Bot > Message Content Intent), "
                "or set [discord] message_content = false in config.toml."
            ) from exc
        except Exception as exc:
            # discord.py lets a malformed event end the client; the bot goes on with a fresh one.
            failures = 0 if client.is_steady else failures
            delay_s = RESTART_DELAYS_S[min(failures, len(RESTART_DELAYS_S) - 1)]
            failures += 1
            if isinstance(exc, (*TROUBLE, discord.GatewayNotFound)):
                log.warning("Discord can't be reached (%s); trying again in %.0f s", exc, delay_s)
            else:
                log.exception("the Discord client died; a new one starts in %.0f s", delay_s)
            await asyncio.sleep(delay_s)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a log record of discord.py's is worth a line: who types fast leaves autocompletes behind, unanswered."""
    return not (record.exc_info and isinstance(record.exc_info[1], TROUBLE))


def _use_stand_in() -> None:
    """Send discord.py to where the environment says."""
    base = api_base()
    if base == DISCORD:
        return
    place = urlsplit(base).netloc
    discord.http.Route.BASE = base
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(f"ws://{place}/gw")
    discord.asset.Asset.BASE = f"http://{place}/cdn"
