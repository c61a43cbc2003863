"""Long posts in an X archive: note-tweet.js has them whole, tweets.js only their beginnings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from models.errors import Unreadable
from models.records import Post
from trainer.sources.fields import as_id, as_text, parse_time
from trainer.sources.html_text import unescape
from trainer.sources.json_stream import entries, texts
from trainer.sources.members import Member, chunks

MAX_NOTES_BYTES = 256 << 20  # notes are held in memory
MAX_NOTES = 100_000
PREFIX_CHARS = 40  # what a note and its shortened tweet have in common
HEAD_CHARS = 2000  # in which they are looked for: 50 mentions can stand before them

_SHORT_LINK = re.compile(r"https?://t\.co/\w*")
_MENTIONS = re.compile(r"(?:@\w{1,15}\s+)+")


class Notes:
    """The notes of an archive, until their tweets come. Unreadable if a file of them is damaged, or too large."""

    def __init__(self, members: Iterable[Member]) -> None:
        self._waiting: dict[tuple[datetime, str], list[Post]] = {}  # by second and beginning
        self._others: list[Post] = []  # undated, or without a beginning: no tweet can be theirs
        self._seconds: set[datetime] = set()
        seen: set[str] = set()
        for member in members:
            for entry in entries(texts(chunks(member, MAX_NOTES_BYTES), member.name), member.name):
                post = _note(entry, f"{member.name}#{len(seen)}")
                if post is None or post.id in seen:
                    continue
                if len(seen) == MAX_NOTES:
                    raise Unreadable(member.name, f"it holds more than {MAX_NOTES:,} long posts.")
                seen.add(post.id)
                self._add(post)

    def in_full(self, tweet: Post) -> Post:
        """The tweet with its note's text, where one was made in the same second and begins alike.

        The ids never agree, and two notes of a thread can share a second. In shared archives, 41 of 41 join so.
        """
        second = _second(tweet)
        if second is None or second not in self._seconds:
            return tweet
        notes = self._waiting.get((second, _prefix(unescape(tweet.text[:HEAD_CHARS]))))
        if not notes:
            return tweet
        note = notes.pop(0)
        links = tuple(dict.fromkeys((*tweet.links, *note.links)))
        return msgspec.structs.replace(tweet, text=note.text, is_escaped=note.is_escaped, links=links)

    def left_over(self) -> Iterator[Post]:
        """The notes that no tweet was found for: posts of their own."""
        for notes in self._waiting.values():
            yield from notes
        yield from self._others

    def _add(self, note: Post) -> None:
        second, prefix = _second(note), _prefix(note.text)
        if second is None or not prefix:
            self._others.append(note)
            return
        self._seconds.add(second)
        self._waiting.setdefault((second, prefix), []).append(note)


def _note(entry: object, fallback_id: str) -> Post | None:
    item = _dict(entry, "noteTweet")
    core = _dict(item, "core")
    text = as_text(core.get("text"))
    if text is None:
        return None
    urls = core.get("urls")
    links = (as_text(_dict({"url": url}, "url").get("shortUrl")) for url in (urls if isinstance(urls, list) else ()))
    return Post(
        id=as_id(item.get("noteTweetId")) or fallback_id,
        text=text,
        is_escaped=False,  # unlike tweets
        created_at=parse_time(item.get("createdAt")),
        links=tuple(link for link in links if link),
    )


def _dict(holder: object, key: str) -> dict[str, Any]:
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, dict) else {}


def _prefix(text: str) -> str:
    plain = _SHORT_LINK.sub(" ", text[:HEAD_CHARS]).replace("…", " ").lstrip()
    mentions = _MENTIONS.match(plain)
    return " ".join(plain[mentions.end() if mentions else 0 :].split())[:PREFIX_CHARS]


def _second(post: Post) -> datetime | None:
    return post.created_at.replace(microsecond=0) if post.created_at else None
