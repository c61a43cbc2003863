"""The protocol of a source of posts. Adding a source is one file, one line in `__init__`, one recorded test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from models.records import Post, Profile, SourceSettings
from trainer.sources.pages import Pages

if TYPE_CHECKING:
    from trainer.sources.web import Web

PAUSE_EVERY = 500  # records between two yields to the event loop, so that a cancel is heard


class Source(Protocol):
    """One account's posts, wherever they lie. All methods raise the typed errors of `models.errors`."""

    async def profile(self, handle: str | None) -> Profile:
        """Who the account is; before anything else. `handle` None: the source must know by itself.

        Whoever asks has to respect `opted_out`.
        """
        ...

    def posts(self, handle: str, since: str | None = None) -> AsyncIterator[Post]:
        """The account's posts, each once, in the source's own order.

        `since` is the id of the newest post that is held already: a source that fetches yields only what is newer,
        one that reads files yields all.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a source that fetches may use: the web, and what an earlier try has fetched."""

    web: Web
    pages: Pages
    settings: SourceSettings
