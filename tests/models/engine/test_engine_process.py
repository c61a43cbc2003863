"""The real engine process over its pipes: `python -m models.engine BASE SETTINGS`."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from models.child import EXIT_ORPHANED
from models.engine.settings import EngineSettings
from models.files import seal
from models.messages import (
    Cancel,
    Completed,
    Delta,
    EngineRequest,
    Failed,
    Generate,
    Hello,
    Message,
    Ready,
    Refused,
    Stopped,
    Unload,
    decode,
    encode,
)
from tests.models.made import made_manifest

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 60.0
ENDLESS = {"count": 16, "max_tokens": 2048}  # minutes of work


class Engine:
    """The parent's side of one engine process."""

    def __init__(self, base: str, settings: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "models.engine", base, settings],
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._inbox.put(decode(line))
        self._inbox.put(None)

    def send(self, *requests: EngineRequest) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"".join(encode(request) for request in requests))
        self.process.stdin.flush()

    def next(self) -> Message | None:
        """The next message; None at the end."""
        return self._inbox.get(timeout=PATIENCE_S)

    def until(self, is_last: Callable[[Message], bool]) -> list[Message]:
        """All messages up to the one that is the last."""
        messages: list[Message] = []
        while not messages or not is_last(messages[-1]):
            message = self.next()
            assert message is not None, f"the engine ended after {messages}"
            messages.append(message)
        return messages

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdin and self.process.stdout
        self.process.stdout.close()
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass


def settings(**changes: object) -> str:
    plain = EngineSettings(device="cpu", precision="fp32", threads=1, cache_mb=64)
    return msgspec.json.encode(msgspec.structs.replace(plain, **changes)).decode()


@pytest.fixture(scope="module")
def base(bases: dict[str, Path]) -> str:
    return str(bases["llama"])


@pytest.fixture(scope="module")
def greeting() -> list[Message]:
    return []


@pytest.fixture(scope="module")
def engine(base: str, greeting: list[Message]) -> Iterator[Engine]:
    """One engine for all tests that leave it running; what it said first is in `greeting`."""
    engine = Engine(base, settings())
    try:
        greeting += engine.until(lambda message: isinstance(message, Ready | Failed))
        yield engine
    finally:
        engine.close()


@pytest.fixture
def start() -> Iterator[Callable[[str, str], Engine]]:
    """Starts an engine of the test's own."""
    engines: list[Engine] = []

    def begin(base: str, settings: str) -> Engine:
        engines.append(Engine(base, settings))
        return engines[-1]

    yield begin
    for engine in engines:
        engine.close()


def ask(number: int, **fields: object) -> Generate:
    return Generate(**{"id": number, "model": None, "seed": 1, "prompt": "the kettle", "max_tokens": 20, **fields})


def is_last(*ids: int) -> Callable[[Message], bool]:
    """Whether all of these requests have been answered."""
    left = set(ids)

    def check(message: Message) -> bool:
        if isinstance(message, Completed | Refused | Stopped):
            left.discard(message.id)
        return not left

    return check


def test_the_engine_says_hello_and_then_that_it_is_ready(engine: Engine, greeting: list[Message], base: str) -> None:
    hello, ready = greeting
    assert hello == Hello(role="engine", pid=engine.process.pid)
    assert isinstance(ready, Ready)
    assert (ready.base, ready.device, ready.precision) == (base, "cpu", "fp32")
    assert ready.parameters > 10_000 and ready.seconds > 0


def test_a_request_is_answered_once(engine: Engine) -> None:
    engine.send(ask(1, count=3, max_tokens=60))
    (completed,) = engine.until(is_last(1))
    assert isinstance(completed, Completed)
    assert len(completed.texts) <= 3
    assert all(text.startswith("the kettle") for text in completed.texts)
    assert completed.tokens > 0


def test_the_same_request_is_answered_the_same(engine: Engine) -> None:
    engine.send(ask(10, count=4, max_tokens=60, seed=5))
    (one,) = engine.until(is_last(10))
    engine.send(ask(11, count=4, max_tokens=60, seed=5))
    (two,) = engine.until(is_last(11))
    assert isinstance(one, Completed) and isinstance(two, Completed)
    assert (one.texts, one.tokens, one.screened) == (two.texts, two.tokens, two.screened)


def test_two_at_once_are_both_answered_in_turns(engine: Engine) -> None:
    engine.send(ask(20, stream=True, max_tokens=40, seed=1), ask(21, stream=True, max_tokens=40, seed=2))
    messages = engine.until(is_last(20, 21))
    assert {m.id for m in messages if isinstance(m, Completed)} == {20, 21}
    assert len([m for m in messages if isinstance(m, Completed)]) == 2
    first = {i: next(n for n, m in enumerate(messages) if m.id == i) for i in (20, 21)}
    last = {i: max(n for n, m in enumerate(messages) if m.id == i and isinstance(m, Delta)) for i in (20, 21)}
    assert first[20] < last[21] and first[21] < last[20]


def test_more_at_once_than_take_turns_are_all_answered(engine: Engine) -> None:
    ids = range(30, 40)
    engine.send(*(ask(i, seed=i) for i in ids))
    messages = engine.until(is_last(*ids))
    assert sorted(m.id for m in messages) == list(ids)
    assert all(isinstance(m, Completed) for m in messages)


def test_deltas_come_before_the_answer(engine: Engine) -> None:
    engine.send(ask(40, stream=True, count=2, max_tokens=40))
    *deltas, completed = engine.until(is_last(40))
    assert isinstance(completed, Completed)
    assert len(deltas) > 2 and all(isinstance(m, Delta) and m.id == 40 and m.text for m in deltas)
    assert {m.index for m in deltas if isinstance(m, Delta)} == {0, 1}


def test_a_cancelled_request_is_stopped_and_never_completed(engine: Engine) -> None:
    engine.send(ask(50, stream=True, **ENDLESS))
    assert isinstance(engine.next(), Delta)
    engine.send(Cancel(id=50))
    *_, stopped = engine.until(lambda m: not isinstance(m, Delta))
    assert stopped == Stopped(id=50)
    engine.send(ask(51))
    after = engine.until(is_last(51))
    assert [m.id for m in after] == [51]


def test_a_waiting_request_can_be_cancelled(engine: Engine) -> None:
    busy = [ask(i, **ENDLESS) for i in range(60, 64)]
    engine.send(*busy, ask(64), Cancel(id=64))
    assert engine.until(is_last(64)) == [Stopped(id=64)]
    engine.send(*(Cancel(id=request.id) for request in busy))
    assert engine.until(is_last(60, 61, 62, 63)) == [Stopped(id=i) for i in range(60, 64)]


def test_a_finished_request_is_not_stopped_as_well(engine: Engine) -> None:
    """`messages`: exactly one of completed, refused, stopped."""
    engine.send(ask(70))
    engine.until(is_last(70))
    engine.send(Cancel(id=70), ask(71))
    assert [m.id for m in engine.until(is_last(71))] == [71]


def test_an_unknown_model_is_refused_and_the_others_are_answered(engine: Engine, tmp_path: Path) -> None:
    engine.send(ask(80, model=str(tmp_path / "nowhere")), ask(81))
    refused, completed = sorted(engine.until(is_last(80, 81)), key=lambda m: m.id)
    assert isinstance(refused, Refused) and "no manifest" in refused.text
    assert isinstance(completed, Completed)


@pytest.fixture
def model(base: str, tmp_path: Path) -> Path:
    """A full model: the base itself, sealed as a version."""
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    seal(folder, made_manifest(base=base))
    return folder


def test_an_unloaded_model_is_dropped_from_memory(engine: Engine, model: Path) -> None:
    engine.send(ask(90, model=str(model)))
    (before,) = engine.until(is_last(90))
    shutil.rmtree(model)
    engine.send(ask(91, model=str(model)))
    (from_memory,) = engine.until(is_last(91))
    assert isinstance(before, Completed) and isinstance(from_memory, Completed)
    assert from_memory.texts == before.texts
    engine.send(Unload(models=("nowhere", str(model))), ask(92, model=str(model)), ask(93))
    refused, other = sorted(engine.until(is_last(92, 93)), key=lambda m: m.id)
    assert isinstance(refused, Refused) and "no manifest" in refused.text
    assert isinstance(other, Completed)


def test_what_is_being_said_in_an_unloaded_voice_is_broken_off(engine: Engine, model: Path) -> None:
    engine.send(ask(95, model=str(model), stream=True, **ENDLESS))
    assert isinstance(engine.next(), Delta)
    engine.send(ask(96), Unload(models=(str(model),)))
    messages = [m for m in engine.until(is_last(95, 96)) if not isinstance(m, Delta)]
    refused, other = sorted(messages, key=lambda m: m.id)
    assert isinstance(refused, Refused) and "deleted" in refused.text
    assert isinstance(other, Completed)


def test_what_is_no_request_is_passed_over(engine: Engine) -> None:
    assert engine.process.stdin
    engine.process.stdin.write(b'gossip\n{"type":"generate"}\n')
    engine.send(ask(90))
    (completed,) = engine.until(is_last(90))
    assert isinstance(completed, Completed)


def test_a_bad_base_fails_with_exit_code_1(start: Callable[[str, str], Engine], tmp_path: Path) -> None:
    engine = start(str(tmp_path), settings())
    hello, failed = engine.next(), engine.next()
    assert isinstance(hello, Hello)
    assert isinstance(failed, Failed) and failed.kind == "Unusable" and failed.is_user_error
    assert str(tmp_path) in failed.text
    assert engine.next() is None
    assert engine.process.wait(PATIENCE_S) == 1


def test_bad_settings_fail_with_exit_code_1(start: Callable[[str, str], Engine], base: str) -> None:
    engine = start(base, '{"volume":11}')
    hello, failed = engine.next(), engine.next()
    assert isinstance(hello, Hello)
    assert isinstance(failed, Failed) and "volume" in failed.text
    assert engine.process.wait(PATIENCE_S) == 1


@pytest.mark.parametrize("when", ["while it loads", "while it writes"])
def test_an_engine_whose_parent_is_gone_ends(start: Callable[[str, str], Engine], base: str, when: str) -> None:
    engine = start(base, settings())
    assert isinstance(engine.next(), Hello)
    if when == "while it writes":
        assert isinstance(engine.next(), Ready)
        engine.send(ask(1, stream=True, **ENDLESS))
        assert isinstance(engine.next(), Delta)
    assert engine.process.stdin
    engine.process.stdin.close()
    started = time.monotonic()
    assert engine.process.wait(PATIENCE_S) == EXIT_ORPHANED
    assert time.monotonic() - started < 5.0
