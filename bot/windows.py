"""How often somebody did something lately."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable

MAX_KEYS = 10_000


class Window:
    """Counts events by key in a sliding window of seconds, in memory."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._events: dict[Hashable, deque[float]] = {}

    def count(self, key: Hashable) -> int:
        """How many events the key has had within the window."""
        events = self._events.get(key)
        if events is None:
            return 0
        self._drop_old(events)
        return len(events)

    def add(self, key: Hashable) -> None:
        """One more event."""
        if len(self._events) >= MAX_KEYS:
            self._events = {k: e for k, e in self._events.items() if e and e[-1] > time.monotonic() - self._seconds}
        events = self._events.setdefault(key, deque())
        events.append(time.monotonic())
        self._drop_old(events)

    def wait_s(self, key: Hashable, limit: int) -> float:
        """Seconds until the key may have another event under a limit; 0 if it may now."""
        if not limit:
            return self._seconds
        if self.count(key) < limit:
            return 0.0
        return max(0.0, self._events[key][-limit] + self._seconds - time.monotonic())

    def _drop_old(self, events: deque[float]) -> None:
        while events and events[0] <= time.monotonic() - self._seconds:
            events.popleft()
