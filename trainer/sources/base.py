"""The protocol of a source of posts. Adding a source is one file, one line in `__init__`, one recorded test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

from models.records import Post, Profile

PAUSE_EVERY = 500  # records between two yields to the event loop, so that a cancel is heard


class Source(Protocol):
    """One account's posts, wherever they lie. All methods raise the typed errors of `models.errors`."""

    async def profile(self, handle: str | None) -> Profile:
        """Who the account is. `handle` None: the source must know by itself."""
        ...

    def posts(self, handle: str, since: datetime | None = None) -> AsyncIterator[Post]:
        """Every post of the account after `since`, each once, in the source's own order."""
        ...
