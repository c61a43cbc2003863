"""Posts from tables with one JSON object a line: API dumps, snscrape, twscrape, twint, hand-made files.

The readers of one tweet-like object (`post_from`, `parse_time`, `as_text`) serve the X archive too.
Field names: shared knowledge of the formats' producers, written down beside each tuple.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from models.errors import Unreadable
from models.records import Post, Profile

MAX_LINE_BYTES = 1 << 20  # a post is about 3 KB
MAX_TIME_CHARS = 64
PAUSE_EVERY = 500  # records between two yields to the event loop, so that a cancel is heard

TEXT_KEYS = ("full_text", "rawContent", "text", "content", "tweet", "body")
ID_KEYS = ("id_str", "id", "tweet_id")
TIME_KEYS = ("created_at", "date", "timestamp")
REPLY_ID_KEYS = ("in_reply_to_status_id_str", "in_reply_to_status_id", "inReplyToTweetId")
RETWEET_FLAGS = ("is_retweet", "isRetweet", "retweet")  # not `retweeted`: it tells of the reader, and is always false
RETWEETED_POSTS = ("retweetedTweet", "retweeted_status")
AUTHOR_KEYS = ("screen_name", "username")
NAME_KEYS = ("displayname", "displayName", "name")

_SURROGATE = re.compile("[\ud800-\udfff]")
_SPREADSHEET_NUMBER = re.compile(r"\d[.,]\d+[eE]\+?\d+")  # 1.23E+18: what Excel leaves of an id
_SPACE_BEFORE_OFFSET = re.compile(r"\s+(?=[+-]\d\d:?\d\d\Z)")
_HANDLE = re.compile(r"[\w.@-]{1,100}\Z")


def as_text(value: object) -> str | None:
    """A string, or an integer as digits; None for anything else and for blank strings."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return None
    # JSON may escape half a surrogate pair, which no UTF-8 file could hold afterwards.
    return _SURROGATE.sub("", value).strip() or None


def as_handle(value: object) -> str | None:
    """A handle without its @, or None if it can't be one."""
    handle = (as_text(value) or "").lstrip("@")
    return handle if _HANDLE.match(handle) else None


def same_handle(one: str, other: str) -> bool:
    """Whether two spellings mean the same account; platforms ignore case."""
    return one.lstrip("@").casefold() == other.lstrip("@").casefold()


def parse_time(value: object) -> datetime | None:
    """The aware UTC time in ISO or in Twitter's style (`Wed Oct 05 19:00:46 +0000 2022`); None if it is neither."""
    text = as_text(value) or ""
    if len(text) > MAX_TIME_CHARS:
        return None
    try:
        if text[:4].isdigit():
            when = datetime.fromisoformat(_SPACE_BEFORE_OFFSET.sub("", text.removesuffix(" UTC")))
        else:
            when = parsedate_to_datetime(text)  # strptime's %a and %b follow the locale, this does not
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def post_from(record: dict[str, Any], fallback_id: str) -> Post | None:
    """The post in a tweet-like object, None if it has no text. `fallback_id` serves where it names no usable id."""
    text = _first(record, TEXT_KEYS)
    if text is None:
        return None
    post_id = _first(record, ID_KEYS)
    if post_id is None or _SPREADSHEET_NUMBER.fullmatch(post_id):
        post_id = fallback_id
    answered = record.get("inReplyToUser")
    return Post(
        id=post_id,
        text=text,
        created_at=next((when for key in TIME_KEYS if (when := parse_time(record.get(key)))), None),
        is_retweet=_is_retweet(record, text),
        reply_to_id=_first(record, REPLY_ID_KEYS),
        reply_to_handle=as_handle(record.get("in_reply_to_screen_name"))
        or as_handle(answered.get("username") if isinstance(answered, dict) else answered),
        links=_links(record),
        lang=as_text(record.get("lang")),
    )


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
            author = _author(record)
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
                if handle := _author(record):
                    authors.setdefault(handle.casefold(), Profile(handle=handle, name=_name(record) or handle))
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


def _first(record: dict[str, Any], keys: Sequence[str]) -> str | None:
    return next((text for key in keys if (text := as_text(record.get(key)))), None)


def _is_retweet(record: dict[str, Any], text: str) -> bool:
    return (
        text.startswith("RT @")
        or any(str(record.get(key)).strip().casefold() in ("true", "t", "1", "yes") for key in RETWEET_FLAGS)
        or any(isinstance(record.get(key), dict) for key in RETWEETED_POSTS)
    )


def _links(record: dict[str, Any]) -> tuple[str, ...]:
    found: dict[str, None] = {}  # a set that keeps order
    for holder in (record.get("entities"), record.get("extended_entities")):
        for key in ("urls", "media"):
            entries = holder.get(key) if isinstance(holder, dict) else None
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict) and (url := as_text(entry.get("url"))):
                    found[url] = None
    return tuple(found)


def _author(record: dict[str, Any]) -> str | None:
    user = record.get("user")
    for holder in (record, user if isinstance(user, dict) else {}):
        for key in AUTHOR_KEYS:
            if handle := as_handle(holder.get(key)):
                return handle
    return None


def _name(record: dict[str, Any]) -> str | None:
    user = record.get("user")
    return _first(user if isinstance(user, dict) else record, NAME_KEYS)


def _few(authors: dict[str, Profile]) -> str:
    names = [f"@{author.handle}" for author in authors.values()]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
