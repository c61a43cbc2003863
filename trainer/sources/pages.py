"""What was fetched for an account, kept as it came: a job that goes on asks for nothing twice."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import zstandard
from msgspec import Struct

from models.files import write_atomically

MAX_PAGES = 5_000  # 100,000 posts, the most that can be asked for, are 2,500 pages of 40

Fetch = Callable[[str | None], Awaitable["Page"]]


class Page(Struct, frozen=True, kw_only=True):
    """An answer with some of the posts. `next` is the token of the page after it; None: there is none."""

    answer: Any
    next: str | None


class Pages:
    """The answers about one account, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def once(self, name: str, fetch: Callable[[], Awaitable[Any]]) -> Any:
        """The answer of that name: the kept one, or else what `fetch` brings."""
        kept = self._read(name)
        if kept is None:
            kept = {"answer": await fetch()}
            self._write(name, kept)
        return kept["answer"]

    async def walk(self, fetch: Fetch) -> AsyncGenerator[Any, None]:
        """Every page's answer in order: the kept ones, then what `fetch` brings for the last one's token.

        A token that comes a second time ends it, as the end does; so do MAX_PAGES, for servers that never end.
        """
        token: str | None = None
        seen: set[str] = set()
        for number in range(1, MAX_PAGES + 1):
            name = f"{number:04d}"
            kept = self._read(name)
            if kept is None:
                page = await fetch(token)
                kept = {"answer": page.answer, "next": page.next}
                self._write(name, kept)
            yield kept["answer"]
            token = kept["next"]
            if token is None or token in seen:
                return
            seen.add(token)

    def _read(self, name: str) -> Any:
        try:
            return json.loads(zstandard.decompress((self._folder / f"{name}.json.zst").read_bytes()))
        except (FileNotFoundError, zstandard.ZstdError, ValueError):  # a damaged one is asked for again
            return None

    def _write(self, name: str, value: object) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        data = json.dumps(value, ensure_ascii=True).encode()
        write_atomically(self._folder / f"{name}.json.zst", zstandard.compress(data))
