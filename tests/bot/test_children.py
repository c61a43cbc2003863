"""Children in real processes: a good one, and one for each way to fail (tests/fakes/children/)."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bot.children import STDERR_TAIL_LINES, Child, run_to_end
from models.errors import ChildCrashed, ChildError, ChildMisspoke, ChildSilent
from models.messages import Cancelled, Done, Generate, Message, Notice, Progress, Sample

FAKES = Path(__file__).resolve().parents[1] / "fakes" / "children"
PATIENCE_S = 20.0  # a loaded machine starts Python slowly

Spawn = Callable[..., Awaitable[Child]]


@pytest.fixture
async def spawn() -> AsyncIterator[Spawn]:
    """Starts the child of that name; it is gone after the test."""
    children: list[Child] = []

    async def start(name: str, *, grace_s: float = PATIENCE_S) -> Child:
        child = await Child.spawn("stage", [str(FAKES / f"{name}.py")], grace_s=grace_s)
        children.append(child)
        return child

    yield start
    for child in children:
        await child.stop()


async def heard(child: Child, *, silence_timeout_s: float = PATIENCE_S) -> list[Message]:
    async with asyncio.timeout(2 * PATIENCE_S):
        return [message async for message in run_to_end(child, silence_timeout_s=silence_timeout_s)]


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def is_gone(pid: int) -> bool:
    for _ in range(100):
        if not is_alive(pid):
            return True
        await asyncio.sleep(0.02)
    return False


# --- a good child -----------------------------------------------------------------------------------------------------


async def test_good_child_is_heard_to_its_end(spawn: Spawn) -> None:
    child = await spawn("good")
    assert await heard(child) == [
        Progress(phase="train", done=1, total=2),
        Notice(text="half way – ½"),
        Progress(phase="train", done=2, total=2),
        Done(),
    ]
    assert not is_alive(child.pid)
    assert child.stderr == "this goes to stderr"


async def test_child_hears_what_it_is_told(spawn: Spawn) -> None:
    child = await spawn("answers")
    await child.send(Generate(id=1, model=None, prompt="hello “there”", seed=1))
    assert await anext(child.messages(silence_timeout_s=PATIENCE_S)) == Notice(text="hello “there”")


async def test_child_that_is_interrupted_says_that_it_stopped(spawn: Spawn) -> None:
    child = await spawn("obeys_term")
    messages = run_to_end(child, silence_timeout_s=PATIENCE_S)
    assert await anext(messages) == Notice(text="listening")
    child.interrupt()
    assert await anext(messages) == Cancelled()
    await messages.aclose()
    assert not is_alive(child.pid)
    child.interrupt()  # of one that is gone: nothing happens
    await child.send(Done())


async def test_much_at_once_is_heard_in_full(spawn: Spawn) -> None:
    messages = await heard(await spawn("floods_stdout"))
    assert [m.step for m in messages if isinstance(m, Sample)] == list(range(5_000))
    assert messages[-1] == Done()


async def test_child_has_nothing_of_the_parents_secrets(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("DISCORD_TOKEN", "X_BEARER_TOKEN", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "PYTHONSTARTUP", "SOMETHING")
    for name in secrets:
        monkeypatch.setenv(name, f"secret-{name}")
    monkeypatch.setenv("HF_HOME", "/somewhere")
    messages = await heard(await spawn("tells_of_itself"))
    assert isinstance(messages[0], Notice)
    environment = json.loads(messages[0].text)["environment"]
    assert not set(secrets) & set(environment)
    assert not any("secret-" in value for value in environment.values())
    assert environment["HF_HOME"] == "/somewhere"
    assert environment["PATH"] == os.environ["PATH"]


async def test_child_leads_a_process_group_and_session_of_its_own(spawn: Spawn) -> None:
    child = await spawn("tells_of_itself")
    messages = await heard(child)
    assert isinstance(messages[0], Notice)
    facts = json.loads(messages[0].text)
    assert facts["pid"] == facts["group"] == facts["session"] == child.pid


# --- children that end badly ------------------------------------------------------------------------------------------


async def test_child_that_ends_without_a_last_word_has_crashed(spawn: Spawn) -> None:
    with pytest.raises(ChildCrashed) as caught:
        await heard(await spawn("silent_death"))
    assert caught.value.exit_code == 7
    assert caught.value.stderr == "no luck today"
    assert str(caught.value) == "stage: ended with exit code 7 before it was done\nno luck today"


async def test_child_that_dies_before_hello_has_crashed_and_its_traceback_is_kept(spawn: Spawn) -> None:
    with pytest.raises(ChildCrashed, match="RuntimeError: broken from the start") as caught:
        await spawn("dies_before_hello")
    assert caught.value.exit_code == 1


async def test_killed_child_is_told_by_its_signal(spawn: Spawn) -> None:
    with pytest.raises(ChildCrashed, match="was killed by signal 9") as caught:
        await heard(await spawn("killed"))
    assert caught.value.exit_code == -signal.SIGKILL


async def test_half_a_message_is_no_message(spawn: Spawn) -> None:
    with pytest.raises(ChildError):
        await heard(await spawn("dies_midline"))


async def test_child_that_dies_over_a_grandchild_has_crashed(spawn: Spawn) -> None:
    child = await spawn("dies_over_grandchild", grace_s=1.0)
    messages = run_to_end(child, silence_timeout_s=PATIENCE_S)
    notice = await anext(messages)
    assert isinstance(notice, Notice)
    with pytest.raises(ChildCrashed, match="signal 9"):
        await anext(messages)
    assert await is_gone(int(notice.text))


async def test_child_that_cannot_be_started_is_a_child_error(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*args: object, **kwargs: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    with pytest.raises(ChildError, match="Resource temporarily unavailable"):
        await spawn("good")


# --- children that say what they must not -----------------------------------------------------------------------------


async def test_noise_on_stdout_is_misspoken(spawn: Spawn) -> None:
    child = await spawn("noise")
    with pytest.raises(ChildMisspoke, match="Loading weights"):
        await heard(child)
    assert not is_alive(child.pid)


async def test_line_over_the_limit_is_misspoken(spawn: Spawn) -> None:
    child = await spawn("huge_line", grace_s=1.0)
    with pytest.raises(ChildMisspoke, match="line over 1048576 bytes"):
        await heard(child)
    assert not is_alive(child.pid)


async def test_other_protocol_version_is_misspoken(spawn: Spawn) -> None:
    with pytest.raises(ChildMisspoke, match="protocol version 2, expected 1"):
        await spawn("wrong_version")


async def test_child_of_another_role_is_misspoken(spawn: Spawn) -> None:
    with pytest.raises(ChildMisspoke, match="its first message was Hello"):
        await spawn("wrong_role")


async def test_first_message_other_than_hello_is_misspoken(spawn: Spawn) -> None:
    with pytest.raises(ChildMisspoke, match="its first message was Done"):
        await spawn("no_hello")


async def test_child_that_closes_its_output_and_lives_on_is_a_child_error(spawn: Spawn) -> None:
    child = await spawn("closes_stdout", grace_s=0.3)
    with pytest.raises(ChildError):
        await heard(child)
    assert not is_alive(child.pid)


# --- children that don't stop -----------------------------------------------------------------------------------------


async def test_child_that_falls_silent_is_ended(spawn: Spawn) -> None:
    child = await spawn("hangs")
    with pytest.raises(ChildSilent, match="said nothing for 1 s") as caught:
        await heard(child, silence_timeout_s=0.6)
    assert caught.value.timeout_s == 0.6
    assert caught.value.stderr == "waiting for a lock"
    assert not is_alive(child.pid)


async def test_child_that_never_says_hello_is_ended(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.children.HELLO_TIMEOUT_S", 0.3)
    started: list[int] = []
    create = asyncio.create_subprocess_exec

    async def remember(*args: object, **kwargs: object) -> asyncio.subprocess.Process:
        process = await create(*args, **kwargs)  # type: ignore[arg-type]
        started.append(process.pid)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", remember)
    with pytest.raises(ChildSilent) as caught:
        await spawn("mute")
    assert caught.value.timeout_s == 0.3
    assert len(started) == 1 and not is_alive(started[0])


async def test_child_that_ignores_term_is_killed_after_the_grace_period(spawn: Spawn) -> None:
    child = await spawn("ignores_term", grace_s=0.5)
    messages = child.messages(silence_timeout_s=PATIENCE_S)
    assert await anext(messages) == Notice(text="deaf")
    child.interrupt()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(messages), 0.2)
    assert is_alive(child.pid)
    started = time.monotonic()
    await child.stop()
    assert 0.4 < time.monotonic() - started < 5
    assert not is_alive(child.pid)


async def test_grandchild_left_behind_is_ended_with_its_group(spawn: Spawn) -> None:
    child = await spawn("leaves_grandchild", grace_s=1.0)
    messages = await heard(child)
    assert isinstance(messages[0], Notice) and messages[1:] == [Done()]
    assert await is_gone(int(messages[0].text))


async def test_listener_that_leaves_early_ends_the_child(spawn: Spawn) -> None:
    child = await spawn("good")
    messages = run_to_end(child, silence_timeout_s=PATIENCE_S)
    await anext(messages)
    await messages.aclose()
    assert not is_alive(child.pid)


async def test_cancelled_listener_ends_the_child(spawn: Spawn) -> None:
    child = await spawn("hangs")
    listener = asyncio.create_task(heard(child))
    await asyncio.sleep(0.05)
    listener.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listener
    assert not is_alive(child.pid)


async def test_child_can_be_stopped_twice(spawn: Spawn) -> None:
    child = await spawn("hangs")
    await child.stop()
    await child.stop()
    assert not is_alive(child.pid)


# --- stderr -----------------------------------------------------------------------------------------------------------


async def test_flood_on_stderr_blocks_nothing_and_its_end_is_kept(spawn: Spawn) -> None:
    child = await spawn("floods_stderr")
    assert await heard(child) == [Done()]
    lines = child.stderr.splitlines()
    assert 0 < len(lines) <= STDERR_TAIL_LINES
    assert lines[-1] == "ÿ the last line"
    assert max(map(len, lines)) <= 500
    assert "warning 19999: the quick brown fox is deprecated" in lines


async def test_a_cancellation_is_heard_whatever_the_child_is_just_saying(spawn: Spawn) -> None:
    child = await spawn("chatters")

    async def listen() -> None:
        async for _ in child.messages(silence_timeout_s=PATIENCE_S):
            pass

    for _ in range(300):
        listener = asyncio.create_task(listen())
        await asyncio.sleep(random.random() / 200)
        listener.cancel()
        await asyncio.wait([listener], timeout=PATIENCE_S)
        assert listener.cancelled()
