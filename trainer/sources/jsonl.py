"""Posts from tables with one JSON object a line: API dumps, snscrape, twscrape, twint, hand-made files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from models.errors import Unreadable
from models.records import Post, Profile
from trainer.sources.base import PAUSE_EVERY
from trainer.sources.fields import author_of, name_of, post_from, same_handle

MAX_LINE_BYTES = 1 << 20  # a post is about 3 KB


class Jsonl:
    """The posts of one account from files with one JSON object a line."""

    def __init__(self, inputs: Sequence[Path]) -> None:
        self._inputs = tuple(inputs)
        self._authors: dict[str, Profile] | None = None  # by casefolded handle; known after the first pass

    async def profile(self, handle: str | None) -> Profile:
        """The asked-for account, or the file's only author; Unreadable if the file can't tell or holds others only."""
        authors = await self._all_authors()
        if handle is None:
            if len(authors) == 1:
                return next(iter(authors.values()))
            if not authors:
                raise self._unreadable("it does not say whose posts these are. Name the handle.")
            raise self._unreadable(f"it holds posts of several accounts ({_few(authors)}). Name the handle you want.")
        handle = handle.lstrip("@")
        if authors and handle.casefold() not in authors:
            raise self._unreadable(
                f"it holds posts of {_few(authors)}, none of @{handle}. Name one of those, "
                f"or attach a file of @{handle}."
            )
        known = authors.get(handle.casefold())
        return Profile(handle=handle, name=known.name if known else handle)

    async def posts(self, handle: str, since: datetime | None = None) -> AsyncIterator[Post]:
        """The account's posts in the files' order, undated ones always; Unreadable names the file and the line."""
        several = len(await self._all_authors()) > 1
        seen: set[str] = set()
        async for where, record in self._records():
            author = author_of(record)
            if several and not (author and same_handle(author, handle)):
                continue
            post = post_from(record, fallback_id=where)
            if post is None or post.id in seen or (since and post.created_at and post.created_at <= since):
                continue
            seen.add(post.id)
            yield post

    async def _all_authors(self) -> dict[str, Profile]:
        if self._authors is None:
            authors: dict[str, Profile] = {}
            async for _, record in self._records():
                if handle := author_of(record):
                    authors.setdefault(handle.casefold(), Profile(handle=handle, name=name_of(record) or handle))
            self._authors = authors
        return self._authors

    async def _records(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        count = 0
        for path in self._inputs:
            for number, record in _lines(path):
                yield f"{path.name}:{number}", record
                count += 1
                if count % PAUSE_EVERY == 0:
                    await asyncio.sleep(0)

    def _unreadable(self, reason: str) -> Unreadable:
        return Unreadable(", ".join(path.name for path in self._inputs) or "the posts", reason)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's number and object; blank lines are passed over."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise Unreadable(path.name, f"line {number} is longer than 1 MB. Put one post on each line.")
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield number, _object(path, number, line)
    except OSError as exc:
        raise Unreadable(path.name, f"it can't be opened ({exc.strerror}). Attach it again.") from exc


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise Unreadable(path.name, f"line {number} is not UTF-8 text. Save the file as UTF-8.") from exc
    except (ValueError, RecursionError) as exc:
        raise Unreadable(
            path.name,
            f"line {number} is not valid JSON. Each line has to be one whole post, "
            f'such as {{"id": "1", "text": "Hello"}}.',
        ) from exc
    if not isinstance(record, dict):
        raise Unreadable(path.name, f'line {number} is not a JSON object such as {{"id": "1", "text": "Hello"}}.')
    return record


def _few(authors: dict[str, Profile]) -> str:
    names = [f"@{author.handle}" for author in authors.values()]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
