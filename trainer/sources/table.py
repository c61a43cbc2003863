"""Posts from tables: CSV, TSV, JSON and JSON lines of twint, snscrape, twscrape, TwExportly, twarc, or made by hand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from models.errors import Unreadable
from models.records import Post, Profile
from trainer.sources.base import PAUSE_EVERY
from trainer.sources.encoding import text_encoding
from trainer.sources.fields import author_id_of, author_of, columns_shown, name_of, post_from, same_handle
from trainer.sources.rows import Record, rows

MAX_TEXT_CHARS = 128 << 10  # X's longest posts have 25,000
MAX_AUTHORS = 10_000  # that are held in memory
SHORT_ID = 10  # digits; what has fewer may be a row's number, or stand for the person

_ESCAPE = re.compile(r"&(?:amp|lt|gt|quot|#0?39);")
_BARE = re.compile(r"&(?![A-Za-z]{2,8};|#)|[<>]")


@dataclass
class _File:
    path: Path
    encoding: str
    is_escaped: bool = True


@dataclass
class _Survey:
    """What one reading of all files told."""

    authors: dict[str, Profile] = field(default_factory=dict)  # by casefolded handle
    nameless: set[str] = field(default_factory=set)  # numbers of authors without a handle, two at most
    answered: set[str] = field(default_factory=set)  # ids of what the account answers

    @property
    def has_several(self) -> bool:
        return len(self.authors) + bool(self.authors and self.nameless) > 1


class Table:
    """The posts of one account from tables, of which each may hold other people's posts too."""

    def __init__(self, inputs: Sequence[Path]) -> None:
        self._inputs = tuple(inputs)
        self._files: list[_File] = []
        self._survey: tuple[str | None, _Survey] | None = None  # for which handle, and what it told

    async def profile(self, handle: str | None) -> Profile:
        """The asked-for account, or the files' only author; Unreadable if they can't tell or hold others only.

        The bio stays empty: whoever made the file could have written it.
        """
        survey = await self._surveyed(handle)
        if handle is None:
            if len(survey.authors) == 1:
                return next(iter(survey.authors.values()))
            if not survey.authors:
                raise self._unreadable("it does not say whose posts these are. Name the handle.")
            raise self._unreadable(f"it holds posts of several accounts ({_few(survey)}). Name the handle you want.")
        handle = handle.lstrip("@")
        known = survey.authors.get(handle.casefold())
        return Profile(handle=handle, name=known.name if known else handle)

    async def posts(self, handle: str, since: str | None = None) -> AsyncIterator[Post]:
        """All of the account's posts in the files' order. Unreadable names the file and what to do.

        Memory is bounded by the ids, and the texts that the account's posts answer, not by the number of rows.
        """
        survey = await self._surveyed(handle)
        answered = await self._texts(survey.answered)
        seen: set[str] = set()
        variants: set[tuple[str, int]] = set()
        async for file, where, record in self._records():
            if not _is_by(record, handle, survey):
                continue
            post = post_from(record, fallback_id=where)
            if post is None:
                continue
            if len(post.id) < SHORT_ID:
                if (post.id, hash(post.text)) in variants:
                    continue
                variants.add((post.id, hash(post.text)))
                post = msgspec.structs.replace(post, id=where) if post.id in seen else post
            elif post.id in seen:
                continue
            seen.add(post.id)
            answers = post.answers or answered.get(post.reply_to_id or "")
            yield msgspec.structs.replace(post, answers=answers, is_escaped=file.is_escaped)

    async def _surveyed(self, handle: str | None) -> _Survey:
        """What the files hold; Unreadable if that is no posts, or none of the handle."""
        handle = handle and handle.lstrip("@").casefold()
        if self._survey is not None:
            asked, survey = self._survey
            if asked == handle or (asked is None and handle is not None and not survey.has_several):
                self._require_holds(survey, handle)
                return survey
        survey = _Survey()
        posts: dict[Path, int] = {}
        balance: dict[Path, int] = {}  # posts with HTML escapes, less those with bare & < >
        async for file, where, record in self._records():
            posts.setdefault(file.path, 0)
            post = post_from(record, fallback_id=where) if record else None
            if post is None:
                continue
            if len(post.text) > MAX_TEXT_CHARS:
                raise Unreadable(
                    file.path.name,
                    f"the post at {where} is longer than {MAX_TEXT_CHARS:,} characters. Put one post in each row.",
                )
            posts[file.path] += 1
            balance[file.path] = (
                balance.get(file.path, 0) + bool(_ESCAPE.search(post.text)) - bool(_BARE.search(post.text))
            )
            self._note_author(survey, record, handle)
            if post.reply_to_id and _is_by(record, handle, survey):
                survey.answered.add(post.reply_to_id)
        for file in self._files:
            # X and those who copy from it write &amp; for &, and then never a bare one.
            file.is_escaped = balance.get(file.path, 0) >= 0
            if not posts.get(file.path):
                raise await self._without_posts(file)
        if len(survey.nameless) > 1 and not survey.authors:
            raise self._unreadable(
                "it holds posts of several accounts, but only their numbers. Add a column “username”, "
                "or export it with the authors' names (twarc2 does so)."
            )
        self._survey = handle, survey
        self._require_holds(survey, handle)
        return survey

    def _note_author(self, survey: _Survey, record: Record, asked: str | None) -> None:
        author = author_of(record)
        if author is None:
            number = author_id_of(record)
            if number and len(survey.nameless) < 2:
                survey.nameless.add(number)
        elif author.casefold() not in survey.authors and (
            len(survey.authors) < MAX_AUTHORS or (asked is not None and same_handle(author, asked))
        ):
            survey.authors[author.casefold()] = Profile(handle=author, name=name_of(record) or author)

    def _require_holds(self, survey: _Survey, handle: str | None) -> None:
        if handle is not None and survey.authors and handle not in survey.authors:
            raise self._unreadable(
                f"it holds posts of {_few(survey)}, none of @{handle}. Name one of those, "
                f"or attach a file of @{handle}."
            )

    async def _texts(self, ids: set[str]) -> dict[str, str]:
        """The texts of the posts of those ids, as far as the files hold them, whoever wrote them."""
        texts: dict[str, str] = {}
        if ids:
            async for _, where, record in self._records():
                if (post := post_from(record, fallback_id=where)) and post.id in ids:
                    texts.setdefault(post.id, post.text)
        return texts

    async def _records(self) -> AsyncIterator[tuple[_File, str, Record]]:
        """(file, its name and where in it, fields) of each record, blank ones too."""
        if not self._files:
            self._files = [_File(path, text_encoding(path)) for path in self._inputs]
        count = 0
        for file in self._files:
            for where, record in rows(file.path, file.encoding):
                yield file, f"{file.path.name}:{where}", record
                count += 1
                if count % PAUSE_EVERY == 0:
                    await asyncio.sleep(0)

    async def _without_posts(self, file: _File) -> Unreadable:
        keys = next((list(record) for _, record in rows(file.path, file.encoding) if record), [])
        if not keys:
            return Unreadable(file.path.name, "it holds no posts. Attach a file with one post in each row.")
        return Unreadable(
            file.path.name,
            "it holds no text that I can find. Rename the column with the posts to “text”. "
            f"It has: {columns_shown(keys)}.",
        )

    def _unreadable(self, reason: str) -> Unreadable:
        return Unreadable(", ".join(path.name for path in self._inputs) or "the posts", reason)


def _is_by(record: Record, handle: str | None, survey: _Survey) -> bool:
    """Whether the record is the account's; one that names nobody is, as long as nobody else is named."""
    if handle is None:
        return not survey.has_several
    author = author_of(record)
    return same_handle(author, handle) if author else not survey.has_several


def _few(survey: _Survey) -> str:
    names = [f"@{author.handle[:30]}" for author in survey.authors.values()]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
