"""The Discord client: logs in, syncs the commands when they changed, answers mentions, takes up progress messages."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from urllib.parse import urlsplit

import discord
import yarl
from discord import app_commands

from bot.discord_front.api import DISCORD, api_base
from bot.discord_front.commands import APOLOGY, add_commands
from bot.discord_front.progress import CancelButton, follow
from bot.discord_front.render import literal, reply_text
from bot.records import Caller, Job
from bot.service import Service
from models.errors import SetupError, UserError

log = logging.getLogger(__name__)

RESTART_DELAYS_S = (1.0, 5.0, 30.0, 120.0, 600.0)  # a tight loop of logins costs the token


class Mockingbird(discord.Client):
    """One login. The service outlives it."""

    def __init__(self, service: Service) -> None:
        # None of these is privileged: a message that mentions the bot comes with its content.
        intents = discord.Intents(guilds=True, guild_messages=True, dm_messages=True)
        super().__init__(
            intents=intents,
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,
            guild_ready_timeout=0.5,
        )
        self.service = service
        self._tree = app_commands.CommandTree(self)
        self._tasks: set[asyncio.Task[None]] = set()
        add_commands(self._tree, service)

    async def setup_hook(self) -> None:
        self.add_dynamic_items(CancelButton)
        await self._sync()
        for job in await self.service.registry.to_announce():
            self.follow(job)

    async def on_ready(self) -> None:
        assert self.user and self.application_id
        log.info("logged in as %s in %d servers", self.user, len(self.guilds))
        permissions = discord.Permissions(view_channel=True, send_messages=True, read_message_history=True)
        log.info("invite: %s", discord.utils.oauth_url(self.application_id, permissions=permissions))

    async def on_message(self, message: discord.Message) -> None:
        """Answer who mentions the bot or replies to it; never another bot, which might answer back for ever."""
        if message.author.bot or message.webhook_id or self.user is None or self.user not in message.mentions:
            return
        text = message.content
        for mention in (f"<@{self.user.id}>", f"<@!{self.user.id}>"):
            text = text.replace(mention, " ")
        caller = Caller(
            server_id=message.guild.id if message.guild else message.author.id,
            user_id=message.author.id,
            channel_id=message.channel.id,
        )
        try:
            async with message.channel.typing():
                answer = reply_text(await self.service.say(caller, answers=" ".join(text.split())))
        except UserError as exc:
            answer = literal(str(exc))
        except discord.Forbidden:
            log.warning("a mention can't be answered in channel %d: no permission to write there", message.channel.id)
            return
        except Exception:
            log.exception("a mention could not be answered")
            answer = APOLOGY
        await message.reply(answer, mention_author=True, suppress_embeds=True)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().close()

    def follow(self, job: Job) -> None:
        """Keep the job's progress message up to date, beside everything else."""
        task = asyncio.create_task(follow(self, self.service, job), name=f"progress of job {job.id}")
        self._tasks.add(task)
        task.add_done_callback(self._followed)

    def _followed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s ended badly", task.get_name(), exc_info=error)

    async def _sync(self) -> None:
        """Tell Discord the commands, only if they are others than last time: it allows few such calls a day."""
        payload = [command.to_dict(self._tree) for command in self._tree.get_commands()]
        digest = hashlib.sha256(json.dumps([self.application_id, payload], sort_keys=True).encode()).hexdigest()
        if await self.service.registry.setting("commands") != digest:
            await self._tree.sync()
            await self.service.registry.set_setting("commands", digest)
            log.info("commands synced")


async def run_discord(service: Service, token: str) -> None:
    """Serve Discord until cancelled. A client that dies is replaced; SetupError if the token is refused."""
    _use_stand_in()
    failures = 0
    while True:
        client = Mockingbird(service)
        try:
            async with client:
                await client.start(token)
            return  # closed on purpose
        except discord.LoginFailure as exc:
            raise SetupError(
                "Discord refuses the token in DISCORD_TOKEN. Reset it on https://discord.com/developers/applications "
                "(your application > Bot > Reset Token) and set it again."
            ) from exc
        except Exception:
            # discord.py lets a malformed event end the client; the bot goes on with a fresh one.
            failures = 0 if client.is_ready() else failures + 1
            delay_s = RESTART_DELAYS_S[min(failures, len(RESTART_DELAYS_S) - 1)]
            log.exception("the Discord client died; a new one starts in %.0f s", delay_s)
            await asyncio.sleep(delay_s)


def _use_stand_in() -> None:
    """Send discord.py to where the environment says."""
    base = api_base()
    if base == DISCORD:
        return
    place = urlsplit(base).netloc
    discord.http.Route.BASE = base
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(f"ws://{place}/gw")
    discord.asset.Asset.BASE = f"http://{place}/cdn"
