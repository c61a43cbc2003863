"""The bot on an in-memory Discord: the real client and the real service, with stand-ins for its two children.

simcord moves the bot's clock; the children live in real time. What the bot waits for is told to simcord where it can
last (the next step of a job, an engine that was ordered to wait), so that an action returns when nothing else is left.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import discord
import msgspec
import pytest
import simcord
import simcord.interactions
from discord import app_commands

from bot.children import Programs
from bot.config import BotSettings, Config, DiscordSettings
from bot.datadir import DataDir
from bot.discord_front.client import Mockingbird
from bot.discord_front.respond import ACKNOWLEDGED, GONE, TOKEN_DEAD
from bot.records import Caller, Job, JobState, ModelVersion
from bot.service import Service, open_service
from models.engine.settings import EngineSettings
from models.errors import UserError
from models.files import seal
from models.messages import Completed, Delta, Generate
from models.records import TrainingSettings
from tests.conftest import made_up_posts
from tests.fakes.children.orders import Orders
from tests.fakes.simcord_patches import mend
from tests.models.made import made_counts, made_manifest

CHILDREN = "tests.fakes.children"
ROBIN = ("robin.jsonl", "".join(json.dumps(post) + "\n" for post in made_up_posts(120)).encode())
LEARNED = {"archive": ROBIN, "ground": "public_domain"}  # options of a /train
PATIENCE_S = 20.0  # real seconds for what a child has to do

T = TypeVar("T")


def quick_config(tmp_path: Path, **changes: dict[str, object]) -> Config:
    """A configuration for stand-ins, with changes as `discord={"message_content": True}`.

    Progress is edited so seldom that only `pass_time` gets an edit done.
    """
    config = Config(
        bot=BotSettings(data_dir=str(tmp_path / "var"), min_free_disk_mb=1, stop_grace_s=5.0),
        discord=DiscordSettings(progress_every_s=30.0),
        training=TrainingSettings(base="quick"),
        engine=EngineSettings(timeout_s=60.0),
    )
    tables = {name: msgspec.structs.replace(getattr(config, name), **table) for name, table in changes.items()}
    return msgspec.structs.replace(config, **tables)


class House:
    """A running bot with one server, one channel, somebody who manages the server and somebody who does not."""

    def __init__(
        self, env: simcord.Env, service: Service, stack: AsyncExitStack, orders: Orders, log: _ErrorLog
    ) -> None:
        self.env = env
        self.orders = orders
        self._stack = stack  # what has to be closed for the bot's process to have ended
        self._log = log
        self._errors_seen = 0
        self._move_in(service)
        self.guild = env.create_guild("Aviary")
        self.channel = self.guild.create_text_channel("general")
        keeper = self.guild.create_role("Keeper", permissions=discord.Permissions(manage_guild=True))
        self.manager = self.guild.add_member(env.create_user("manager"), roles=[keeper])
        self.member = self.guild.add_member(env.create_user("member"))

    @property
    def bot(self) -> discord.Client:
        return self.env.bot

    @property
    def caller(self) -> Caller:
        """The manager, as the service knows them."""
        return Caller(server_id=self.guild.id, user_id=self.manager.id, channel_id=self.channel.id, may_manage=True)

    # --- acting -------------------------------------------------------------------------------------------------------

    async def train(self, *, actor: simcord.MemberActor | None = None, **options: object) -> simcord.InteractionResult:
        """/train of @robin's file by the manager, if nothing else is said; an option that is None is left out."""
        given = {key: value for key, value in {**LEARNED, **options}.items() if value is not None}
        return await (actor or self.manager).slash(self.channel, "train", **given)

    async def trained(self, name: str = "robin") -> Job:
        """A model of that name, made by /train, with its progress message at its end."""
        await self.train(handles="@robin", name=name)
        job = await self.ended((await self.service.jobs(self.caller, limit=1))[0].id)
        assert job.version, job.error
        await self.pass_time()
        return job

    async def shelve(
        self, name: str = "robin", *, handles: tuple[str, ...] = ("robin",), server_id: int | None = None
    ) -> ModelVersion:
        """A model on the shelf without a training; of the house if `server_id` is 0."""
        registry = self.service.registry
        owner = Caller(server_id=self.guild.id if server_id is None else server_id, user_id=self.manager.id)
        job = await registry.add_job(owner, model=name, handles=handles, place_files=lambda number: None)
        job = await registry.move(await registry.move(job, JobState.COLLECTING), JobState.FITTING)
        job, place = await registry.begin_saving(job)
        folder = self.service.data.models / place
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        accounts = tuple(made_counts(handle, handle) for handle in handles)
        seal(folder, made_manifest(job_id=job.id, model=name, accounts=accounts))
        await registry.finish(job, place, posts=712, bits_per_byte=1.75)
        await self.service.library.load()
        return next(m for m in self.service.library.visible(owner) if m.job_id == job.id)

    async def failed_job(self, name: str, *, error: str = "There is nothing to learn from.") -> Job:
        """A job of the server that has failed, long announced."""
        registry = self.service.registry
        job = await registry.add_job(self.caller, model=name, handles=[name], place_files=lambda number: None)
        await registry.move(job, JobState.FAILED, error=error)
        return await registry.set_announced(job.id)

    def let_in(self, command: str, whom: Any, *, allowed: bool = True) -> None:
        """Open a command to a member or a role on the server's Integrations page, or close it."""
        command_id = self.env.backend.commands[None][command, 1]["id"]
        self.guild.set_command_permissions(int(command_id), {whom: allowed})
        facts = {"id": command_id, "application_id": self.bot.application_id, "guild_id": self.guild.id}
        event = {**{key: str(value) for key, value in facts.items()}, "permissions": []}
        self.env.backend.emit("APPLICATION_COMMAND_PERMISSIONS_UPDATE", event)

    def other_guild(self) -> tuple[simcord.GuildHandle, simcord.ChannelHandle, simcord.MemberActor]:
        """Another server with the bot, a channel in it, and its manager."""
        guild = self.env.create_guild("Elsewhere")
        keeper = guild.create_role("Keeper", permissions=discord.Permissions(manage_guild=True))
        return (
            guild,
            guild.create_text_channel("general"),
            guild.add_member(self.env.create_user("mallory"), roles=[keeper]),
        )

    @contextmanager
    def interactions(self, **changes: object) -> Iterator[None]:
        """Have all interactions carry these fields: `locale="de"`, `context=2`; simcord sends en-US and no other."""
        base_payload = simcord.interactions.base_payload

        def changed(*args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
            record, payload = base_payload(*args, **kwargs)
            return record, {**payload, **changes}

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(simcord.interactions, "base_payload", changed)
            yield

    async def restart(self) -> None:
        """The bot's process ends without a word and starts again. What was ordered to wait goes on doing so."""
        await self._stack.aclose()
        service = await self._stack.enter_async_context(_serving(self.service.config, self.orders.folder))
        self._move_in(service)
        await self.env.restart_bot(_client(service))

    async def pass_time(self, seconds: float = 60.0) -> None:
        """Let the bot's clock go on, and all that falls due happen."""
        await self.env.advance_time(seconds)

    # --- waiting, in real time, for the children ----------------------------------------------------------------------

    async def until(self, condition: Callable[[], T], *, each_s: float = 0.0) -> T:
        """What the condition gives once that is true; each look lets `each_s` of the bot's time pass."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := condition()):
                await asyncio.sleep(0.005)
                await self.env.advance_time(each_s)
        return found

    async def ended(self, job_id: int) -> Job:
        """The job at its end. Its message shows that once time has passed."""
        async with asyncio.timeout(PATIENCE_S):
            async for view in self.service.watch(job_id):
                job = view.job
        return job

    # --- looking ------------------------------------------------------------------------------------------------------

    def said(self, *, channel: simcord.ChannelHandle | None = None) -> list[discord.Message]:
        """What the bot has written in the channel for all to see, as it stands now."""
        history = (channel or self.channel).history()
        return [m for m in history if m.author == self.bot.user and not m.flags.ephemeral]

    def message(self, word: str, *, channel: simcord.ChannelHandle | None = None) -> discord.Message | None:
        """The latest of those messages with the word in it."""
        return next((m for m in reversed(self.said(channel=channel)) if word in m.content), None)

    def sent(self) -> list[dict[str, Any]]:
        """The JSON of everything that the bot has written or edited, wherever, in the order that it did."""
        payloads = [
            r.json for r in self.env.http_requests if r.method in ("POST", "PATCH") and isinstance(r.json, dict)
        ]
        return [payload.get("data") or payload for payload in payloads]

    def asked(self) -> list[Generate]:
        """What the engine has been asked so far."""
        kept = self.orders.folder / "requests.jsonl"
        lines = kept.read_bytes().splitlines() if kept.exists() else []
        return [msgspec.json.decode(line, type=Generate) for line in lines]

    def faults(self) -> list[str]:
        """What went wrong in the bot since the last look, and was not the asking person's to mend; see `open_house`."""
        raised = [error for error in self.env.errors_since(self._errors_seen) if not _is_theirs(error)]
        self._errors_seen = self.env.error_cursor
        logged, self._log.records = self._log.records, []
        return [*(repr(error) for error in raised), *(record.getMessage() for record in logged)]

    # --- what simcord has to be told ----------------------------------------------------------------------------------

    def _move_in(self, service: Service) -> None:
        self.service = service
        changed = service._jobs.views._changed
        service.engine.generate = _Asking(self, service.engine.generate)  # type: ignore[method-assign]
        changed.wait = _Waiting(self, changed.wait)  # type: ignore[method-assign]

    async def external(self, wait: Callable[[], Awaitable[T]], reason: str) -> T:
        """Wait for something outside, without keeping simcord; only the bot's own tasks can."""
        try:
            return await self.env.external_wait(wait(), reason=reason)
        except simcord.SetupError:
            return await wait()


class _Waiting:
    """A condition's `wait` for the next step of a job."""

    def __init__(self, house: House, wait: Callable[[], Awaitable[bool]]) -> None:
        self._house, self._wait = house, wait

    async def __call__(self) -> bool:
        return await self._house.external(self._wait, "the next step of a job")


class _Asking:
    """The engine's `generate`, run where the bot's clock does not reach."""

    def __init__(self, house: House, generate: Callable[[Generate], AsyncGenerator[Delta | Completed]]) -> None:
        self._house, self._generate = house, generate

    async def __call__(self, request: Generate) -> AsyncGenerator[Delta | Completed]:
        async with aclosing(self._generate(request)) as messages:
            while message := await self._outside(messages):
                yield message

    async def _outside(self, messages: AsyncGenerator[Delta | Completed]) -> Delta | Completed | None:
        async def step() -> Delta | Completed | None:
            return await anext(messages, None)

        task = contextvars.Context().run(asyncio.ensure_future, step())
        try:
            if self._house.orders.stands("engine-waits"):
                return await self._house.external(lambda: asyncio.shield(task), "an engine that was ordered to wait")
            return await asyncio.shield(task)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])


def text(result: simcord.InteractionResult) -> str:
    """What the one who asked was answered, as content or in an embed."""
    shown = result.response or next(iter(result.followups), None)
    assert shown, result
    return shown.content or "".join(embed.description or "" for embed in shown.embeds)


def private(result: simcord.InteractionResult) -> str:
    """The same, for an answer that only they may see."""
    shown = result.response or next(iter(result.followups), None)
    assert shown, result
    assert shown.ephemeral, text(result)
    return text(result)


def labels(shown: Any) -> list[str]:
    """The labels of the buttons under an answer or a message."""
    message = getattr(shown, "message", shown)
    return [item.label for row in message.components for item in row.children if getattr(item, "label", None)]


# --- opening it -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_house(config: Config, orders_folder: Path, **options: Any) -> AsyncIterator[House]:
    """A house to test in. What goes wrong in the bot fails the test, if it has not looked at `faults` itself.

    `options` are simcord's.
    """
    orders = Orders(orders_folder)
    with pytest.MonkeyPatch.context() as patch, _ErrorLog() as log:
        mend(patch)
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(_serving(config, orders.folder))
            client = _client(service)
            env = simcord.Env(
                client, shard_count=1, **options
            )  # not `run`: its context variables don't go with a fixture
            await env.start()
            try:
                house = House(env, service, stack, orders, log)
                yield house
            finally:
                await env.shutdown()
            faults = house.faults()
            assert not faults, faults


def _client(service: Service) -> Mockingbird:
    return Mockingbird(service)


def _is_theirs(error: BaseException) -> bool:
    """Whether it is for who asked, a word of ours or a check that failed, or for nobody: they are gone."""
    if isinstance(error, app_commands.CommandInvokeError):
        error = error.original
    if isinstance(error, discord.HTTPException) and error.code in (GONE, ACKNOWLEDGED, *TOKEN_DEAD):
        return True
    return isinstance(error, UserError | app_commands.AppCommandError)


class _ErrorLog(logging.Handler):
    """Keeps what the bot logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def __enter__(self) -> _ErrorLog:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        logging.getLogger().removeHandler(self)


@asynccontextmanager
async def _serving(config: Config, orders_folder: Path) -> AsyncIterator[Service]:
    programs = Programs(
        engine=("-m", f"{CHILDREN}.quick_engine", str(orders_folder)),
        trainer=("-m", f"{CHILDREN}.quick_trainer", str(orders_folder)),
    )
    async with open_service(config, DataDir(config.data_dir), "test", programs=programs) as service:
        yield service
