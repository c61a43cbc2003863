"""What the tests of the real process share: `python -m bot run` against the stand-in for Discord, over real sockets."""

# ruff: noqa: ASYNC109 - callers read better with a timeout argument than with a context manager each
from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bot.config import BotSettings, Config
from bot.datadir import DataDir
from bot.records import CONSOLE, JobState
from bot.service import open_service
from tests.conftest import ROOT, made_up_posts
from tests.fakes.discord_payloads import MANAGE_GUILD, Interaction, Json, walk
from tests.fakes.discord_server import FakeDiscord

WriteConfig = Callable[..., Path]
ROBIN = "".join(json.dumps(post) + "\n" for post in made_up_posts(120)).encode()
WREN = "".join(json.dumps(post) + "\n" for post in made_up_posts(120, handle="wren")).encode()
# A training that does not end by itself within a test.
SLOW = {"epochs": 100, "batch_tokens": 64, "patience": 100, "evaluations_per_epoch": 4, "learning_rate": 1e-5}


# --- fixtures, which a module takes by `discord = discord_process.discord` --------------------------------------------


@pytest.fixture
async def discord() -> AsyncIterator[FakeDiscord]:
    """Discord, of which the bot has to know every route and keep every limit."""
    async with FakeDiscord() as fake:
        yield fake
        assert fake.unknown_routes == []
        assert fake.violations == []


@pytest.fixture(scope="session")
def robin_house(tiny_base: Path) -> Path:
    """A data directory with the house's model "robin", which everybody may use; made once for all workers."""
    made = tiny_base.with_name("robin-house")
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            asyncio.run(_train_for_the_house(tiny_base, made))
    return made


@pytest.fixture
def with_robin(robin_house: Path, config: Config) -> None:
    """The test's data directory is a copy of that."""
    shutil.copytree(robin_house, config.data_dir)


async def _train_for_the_house(base: Path, place: Path) -> None:
    from models.records import TrainingSettings

    unfinished = place.with_suffix(".unfinished")
    config = Config(
        bot=BotSettings(data_dir=str(unfinished), min_free_disk_mb=1),
        training=TrainingSettings(
            base=str(base), epochs=1, evaluations_per_epoch=1, threads=1, precision="fp32", max_post_tokens=64
        ),
    )
    posts = place.with_name("robin.jsonl")
    posts.write_bytes(ROBIN)
    async with open_service(config, DataDir(config.data_dir), "test") as service:
        job = await service.start(
            CONSOLE, await service.plan(CONSOLE, handles=["@robin"], files=[posts], ground="public_domain")
        )
        async for view in service.watch(job.id):
            job = view.job
    assert job.state == JobState.DONE, job
    unfinished.rename(place)


# --- the process ------------------------------------------------------------------------------------------------------


async def start(
    fake: FakeDiscord,
    *arguments: str | Path,
    environment: Mapping[str, str | None] | None = None,
    stderr: int | None = asyncio.subprocess.DEVNULL,
) -> asyncio.subprocess.Process:
    """`python -m bot …` with the stand-in's address and token."""
    ours = {"DISCORD_TOKEN": fake.token, "MOCKINGBIRD_DISCORD_API": f"{fake.url}/api/v10", **(environment or {})}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bot", *map(str, arguments)),
        cwd=ROOT,
        env={name: value for name, value in {**os.environ, **ours}.items() if value is not None},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=stderr,
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """(its exit code, what it wrote to stderr)"""
    _, stderr = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, (stderr or b"").decode()


@asynccontextmanager
async def bot(
    fake: FakeDiscord,
    config_file: Path,
    *,
    environment: Mapping[str, str | None] | None = None,
    waits: bool = True,
    breaks: bool = False,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The bot's process, logged in. At the end it is told to stop, if it still runs, and does so well.

    It `breaks` if the test makes it log a traceback.
    """
    before = fake.identify_count
    process = await start(fake, "--config", config_file, "run", environment=environment)
    try:
        if waits:
            await fake.wait_for(lambda: fake.identify_count > before or process.returncode is not None, 30)
            assert process.returncode is None, "it ended at once"
            await fake.wait_ready()
        yield process
        if process.returncode is None:
            assert await stopped(process) == 0
        assert breaks or "Traceback" not in log_of(config_file)
    except AssertionError:
        print(log_of(config_file)[-5000:])
        raise
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def stopped(process: asyncio.subprocess.Process) -> int:
    """Tell it to stop; its exit code."""
    process.send_signal(signal.SIGTERM)
    return await asyncio.wait_for(process.wait(), 20)


async def killed(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()


def log_of(config_file: Path) -> str:
    """What the bot wrote into its log."""
    data_dir = msgspec.toml.decode(config_file.read_bytes())["bot"]["data_dir"]
    log = Path(data_dir) / "mockingbird.log"
    return log.read_text() if log.exists() else ""


# --- what members do --------------------------------------------------------------------------------------------------


async def train(fake: FakeDiscord, data: bytes = ROBIN, timeout: float = 20, **at: Any) -> str:
    """/train with an attachment; the private answer to it."""
    interaction = await fake.slash(
        "train", {"ground": "public_domain"}, attachments={"archive": ("posts.jsonl", data)}, **manager(at)
    )
    return str((await interaction.answered(timeout))["content"])


async def run(
    fake: FakeDiscord, name: str, options: Json | None = None, subcommand: str = "", timeout: float = 10, **at: Any
) -> Json:
    """A command, and the message that answers it."""
    return await (await fake.slash(name, options, subcommand=subcommand, **at)).answered(timeout)


async def press(fake: FakeDiscord, message: Json, prefix: str, **how: Any) -> Interaction:
    """Press the message's button, or use its menu, whose custom id begins like that."""
    ids = [c["custom_id"] for c in walk(message["components"]) if c.get("custom_id", "").startswith(prefix)]
    assert len(ids) == 1, f"{prefix!r} is not one of {message['components']}"
    return await fake.click(int(message["id"]), ids[0], **how)


def manager(how: dict[str, Any] | None = None) -> dict[str, Any]:
    """The arguments of somebody with Manage Server."""
    return {"permissions": MANAGE_GUILD, **(how or {})}


# --- what the bot does ------------------------------------------------------------------------------------------------


def own(fake: FakeDiscord, *parts: str) -> list[Json]:
    """The bot's messages in which all of this is."""
    mine = [m for m in fake.messages.values() if m["author"]["id"] == str(fake.bot_id)]
    return [m for m in mine if all(part in m["content"] for part in parts)]


def progress(fake: FakeDiscord, *parts: str) -> Json | None:
    """The one progress message, if all of this is in it."""
    shown = own(fake, "**Training", "job #")
    assert len(shown) < 2, f"there is more than one progress message: {shown}"
    return shown[0] if shown and all(part in shown[0]["content"] for part in parts) else None


def announcements(fake: FakeDiscord) -> list[Json]:
    """What who asked was told of the end of a job."""
    return [m for m in own(fake, f"<@{fake.member_id}>") if m["mentions"]]


def reply_to(fake: FakeDiscord, message_id: int) -> Json | None:
    for message in fake.messages.values():
        if (message.get("message_reference") or {}).get("message_id") == str(message_id):
            return message
    return None


def link_to(message: Json) -> str:
    return f"https://discord.com/channels/{message['guild_id']}/{message['channel_id']}/{message['id']}"


# --- what Discord does when a certain request comes -------------------------------------------------------------------

Wanted = Callable[[str, str, Any], bool]  # by method, path and body


def fail_when(fake: FakeDiscord, wanted: Wanted, *statuses: int) -> list[int]:
    """The next requests of that kind end with these statuses, 0 for a cut; returns those that are still to come."""
    left, ordinary = list(statuses), fake._failure

    def failure(request: Any, path: str) -> Any:
        if left and wanted(*fake.requests[-1]):
            status = left.pop(0)
            return fake._respond(status, {"code": 0, "message": "scripted"}) if status else fake._cut(request)
        return ordinary(request, path)

    fake._failure = failure  # type: ignore[method-assign]
    return left


def lose_answers(fake: FakeDiscord, wanted: Wanted, times: int = 1) -> list[int]:
    """The next requests of that kind are carried out, and the connection is cut before the answer."""
    left, ordinary = [0] * times, fake._answer

    async def answer(request: Any, path: str, body: Any, files: Any) -> Any:
        response = await ordinary(request, path, body, files)
        if left and wanted(request.method, path, body):
            left.pop()
            return fake._cut(request)
        return response

    fake._answer = answer  # type: ignore[method-assign]
    return left


def says(method: str, part: str) -> Wanted:
    """Requests about messages whose new content has this in it."""
    return lambda m, path, body: (
        m == method and path.startswith("/channels/") and part in str((body or {}).get("content"))
    )
