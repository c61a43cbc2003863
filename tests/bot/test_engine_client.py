"""The bot's end of the engine, with the real engine on a tiny base and with engines that misbehave."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from bot.children import Child
from bot.engine import Engine, EngineDied
from models.engine.settings import EngineSettings
from models.errors import EngineTrouble
from models.messages import Completed, Delta, Generate

FAKES = Path(__file__).resolve().parents[1] / "fakes" / "children"
SETTINGS = EngineSettings(threads=1, precision="fp32", max_waiting=2, timeout_s=60.0)


def request(prompt: str = "the kettle", *, seed: int = 1, max_tokens: int = 8, stream: bool = False) -> Generate:
    return Generate(id=0, model=None, prompt=prompt, seed=seed, max_tokens=max_tokens, stream=stream)


async def answer(engine: Engine, question: Generate) -> Completed:
    async with asyncio.timeout(60), aclosing(engine.generate(question)) as messages:
        async for message in messages:
            if isinstance(message, Completed):
                return message
    raise AssertionError("no answer")


async def until(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


@asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[Engine]:
    task = asyncio.create_task(engine.run())
    try:
        yield engine
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


# --- the real engine: one for these tests, which starts in seconds ----------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tiny_base: Path) -> AsyncIterator[Engine]:
    async with running(Engine(str(tiny_base), SETTINGS, grace_s=5.0)) as engine:
        await engine.wait_ready()
        yield engine


@pytest.fixture(scope="module")
def stuck(engine: Engine) -> Callable[[], int]:
    """Stops the engine process where it is, so that what is asked stays in flight; returns its number."""

    def stop() -> int:
        assert engine.pid
        os.kill(engine.pid, signal.SIGSTOP)
        return engine.pid

    return stop


module_loop = pytest.mark.asyncio(loop_scope="module")


@module_loop
async def test_engine_tells_what_it_is(engine: Engine, tiny_base: Path) -> None:
    ready = await engine.wait_ready()
    assert ready.base == str(tiny_base)
    assert ready.parameters > 10_000
    assert engine.ready == ready and engine.pid


@module_loop
async def test_engine_answers_and_the_same_seed_gives_the_same_answer(engine: Engine) -> None:
    first, again, other = [await answer(engine, request(seed=seed)) for seed in (1, 1, 2)]
    assert first.texts == again.texts != other.texts
    assert all(text.startswith("the kettle") for text in first.texts)


@module_loop
async def test_streamed_answer_grows_and_ends_with_the_whole(engine: Engine) -> None:
    async with aclosing(engine.generate(request(stream=True, max_tokens=16))) as stream:
        messages = [message async for message in stream]
    assert all(isinstance(message, Delta) for message in messages[:-1])
    assert len(messages) > 1 and isinstance(messages[-1], Completed)


@module_loop
async def test_concurrent_requests_get_their_own_answers(engine: Engine) -> None:
    alone = await answer(engine, request("the pigeon", seed=3))
    together = await asyncio.gather(
        answer(engine, request("the pigeon", seed=3)), answer(engine, request("the ladder", seed=4))
    )
    assert together[0].texts == alone.texts
    assert all(text.startswith("the ladder") for text in together[1].texts)


@module_loop
async def test_listener_that_leaves_early_cancels_and_the_next_is_answered(engine: Engine) -> None:
    before = engine.pid
    async with aclosing(engine.generate(request(stream=True, max_tokens=64))) as stream:
        async for message in stream:
            assert isinstance(message, Delta)
            break
    assert engine._requests == {}
    assert (await answer(engine, request())).tokens > 0
    assert engine.pid == before


@module_loop
async def test_request_is_refused_when_too_many_wait(engine: Engine, stuck: Callable[[], int]) -> None:
    pid = stuck()
    try:
        waiting = [asyncio.create_task(answer(engine, request())) for _ in range(SETTINGS.max_waiting)]
        await until(lambda: len(engine._requests) == SETTINGS.max_waiting)
        with pytest.raises(EngineTrouble, match="Too many people"):
            await answer(engine, request())
    finally:
        os.kill(pid, signal.SIGCONT)
    assert len({completed.texts for completed in await asyncio.gather(*waiting)}) == 1


@module_loop
async def test_model_that_is_not_there_is_refused_and_the_engine_goes_on(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(EngineTrouble):
        await answer(engine, Generate(id=0, model=str(tmp_path / "nowhere"), prompt="x", seed=1))
    assert (await answer(engine, request())).tokens > 0


@module_loop
async def test_killed_engine_fails_what_is_in_flight_and_is_started_again(
    engine: Engine, stuck: Callable[[], int]
) -> None:
    expected = await answer(engine, request())
    pid = stuck()
    in_flight = asyncio.create_task(answer(engine, request()))
    await until(lambda: engine._requests)
    await asyncio.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineDied, match="ask once more"):
        await in_flight
    assert (await answer(engine, request())).texts == expected.texts  # waits for the next engine
    assert engine.pid not in (None, pid)


# --- engines that can't serve -----------------------------------------------------------------------------------------


async def test_base_that_is_not_there_is_named(tmp_path: Path) -> None:
    base = tmp_path / "no-such-base"
    async with running(Engine(str(base), SETTINGS, grace_s=5.0)) as engine:
        with pytest.raises(EngineTrouble, match="no-such-base"):
            await engine.wait_ready()
        with pytest.raises(EngineTrouble, match="no-such-base"):
            await answer(engine, request())


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Engine]:
    """An Engine whose process is one of the fake children."""
    spawn = Child.spawn

    def make(name: str, **settings: float) -> Engine:
        async def start(role: str, arguments: Sequence[str], *, grace_s: float) -> Child:
            return await spawn(role, [str(FAKES / f"{name}.py"), str(tmp_path / "marker")], grace_s=grace_s)

        monkeypatch.setattr(Child, "spawn", start)
        return Engine("fake", EngineSettings(**{"timeout_s": 20.0, **settings}), grace_s=1.0)

    return make


async def test_request_made_while_the_engine_fails_to_start_is_answered_by_the_next(
    fake: Callable[..., Engine],
) -> None:
    async with running(fake("engine_dies_once")) as engine:
        assert (await answer(engine, request("hello"))).texts == ("hello",)


async def test_answer_that_does_not_come_is_given_up(fake: Callable[..., Engine]) -> None:
    async with running(fake("engine_mute", timeout_s=1.0)) as engine:
        with pytest.raises(EngineTrouble, match="took too long"):
            await answer(engine, request())
        assert engine._requests == {}


@pytest.mark.parametrize("name", ["silent_death", "noise", "wrong_version", "killed"])
async def test_engine_that_never_starts_is_told_and_points_to_check(fake: Callable[..., Engine], name: str) -> None:
    async with running(fake(name)) as engine:
        with pytest.raises(EngineTrouble, match="python -m bot check"):
            await engine.wait_ready()
        assert engine.ready is None and engine.pid is None


async def test_engine_is_gone_when_its_owner_is_cancelled(fake: Callable[..., Engine]) -> None:
    async with running(fake("engine_mute")) as engine:
        await engine.wait_ready()
        pid = engine.pid
    assert pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
