"""How often somebody did something lately: counted in a window that slides."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bot.windows import MAX_KEYS, Window


class Clock:
    """Stands where the time is; goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("bot.windows.time", clock)
    return clock


@pytest.fixture
def at(clock: Clock) -> Callable[[float], None]:
    def go(second: float) -> None:
        clock.now = 1000.0 + second

    return go


def test_events_count_until_they_leave_the_window(at: Callable[[float], None]) -> None:
    window = Window(60)
    assert window.count("robin") == 0
    for second in (0, 30, 59):
        at(second)
        window.add("robin")
    assert window.count("robin") == 3
    at(60)
    assert window.count("robin") == 2
    at(119)
    assert window.count("robin") == 0


def test_each_key_has_a_window_of_its_own(clock: Clock) -> None:
    window = Window(60)
    window.add((42, 7))
    assert (window.count((42, 7)), window.count((43, 7)), window.count((42, 8))) == (1, 0, 0)


def test_the_wait_is_until_the_oldest_event_that_counts_has_left(at: Callable[[float], None]) -> None:
    window = Window(60)
    for second in (0, 10, 20):
        at(second)
        assert window.wait_s("robin", 3) == 0
        window.add("robin")
    at(25)
    assert window.wait_s("robin", 4) == 0
    assert window.wait_s("robin", 3) == 35
    assert window.wait_s("robin", 1) == 55  # a limit that was lowered meanwhile
    at(60)
    assert window.wait_s("robin", 3) == 0


def test_a_limit_of_nothing_is_a_wait_for_ever(clock: Clock) -> None:
    window = Window(60)
    assert window.wait_s("robin", 0) == 60
    window.add("robin")
    assert window.wait_s("robin", 0) == 60


def test_what_is_remembered_does_not_grow_without_end(at: Callable[[float], None]) -> None:
    window = Window(60)
    for key in range(MAX_KEYS):
        window.add(key)
    at(61)
    assert window.count(0) == 0  # looked at when it was over: nothing is left of it
    window.add("robin")
    assert window.count("robin") == 1
    assert len(window._events) == 1


def test_what_is_recent_is_kept_when_there_is_too_much(at: Callable[[float], None]) -> None:
    window = Window(60)
    for key in range(MAX_KEYS - 1):
        window.add(key)
    at(50)
    window.add("robin")
    at(65)
    window.add("wren")
    assert (window.count("robin"), window.count("wren"), window.count(0)) == (1, 1, 0)
