"""Posts from the archive that X gives an account's owner: every layout since 2012, whole ZIPs or loose files.

Only what holds tweets, note-tweets and the owner's name is ever opened, so that messages, contacts, likes and deleted
or restricted posts are not read.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from io import FileIO, TextIOWrapper
from pathlib import Path

from models.errors import Unreadable
from models.records import Post, Profile
from trainer.sources.base import PAUSE_EVERY
from trainer.sources.delimited import delimited_rows
from trainer.sources.fields import owner_trouble, post_from
from trainer.sources.json_stream import entries, texts
from trainer.sources.members import Member, chunks, is_zip, opened, zip_members
from trainer.sources.x_notes import Notes
from trainer.sources.x_owner import owners_of

MAX_ENTRIES = 1_000_000  # their ids are held in memory; 100,000 posts are a lot for a person
HEAD_BYTES = 4096

# What files are called, without -part1 and .js, and the variables in them, without part0. A name that is not here is
# none of our business: deleted-tweets, community-tweet, twitter-circle-tweet, direct-messages, like …
_KINDS = {
    "tweet": "tweets",
    "tweets": "tweets",
    "note-tweet": "notes",
    "note-tweets": "notes",
    "account": "account",
    "manifest": "manifest",
    "user-details": "user_details",  # Grailbird's
}
_NAME = re.compile(
    r"(?:^|[/\\])(?:(?P<kind>[a-z_-]+?)(?:-part(?P<part>\d{1,6}))?|(?P<month>\d{4}_\d\d))(?:\x20\(\d+\))?\.js\Z",
    re.IGNORECASE,
)
_TABLE = re.compile(r"(?:^|[/\\])tweets(?:\x20\(\d+\))?\.csv\Z", re.IGNORECASE)
_VARIABLE = re.compile(rb"(?:\xef\xbb\xbf)?\s*+(?:var\s|window\.)?(?:(YTD|Grailbird\.data)\.)?(\w+?)(?:\.part\d+)?\s*=")
_MONTH = re.compile(r"tweets_(\d{4}_\d\d)")
_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?\s*+\[")
_AGAIN = "Download your archive from X again and attach the ZIP as it came."


class XArchive:
    """The posts in an X archive: one or several ZIPs (parts of one archive), or loose files out of it."""

    def __init__(self, inputs: Sequence[Path]) -> None:
        self._inputs = tuple(inputs)

    async def profile(self, handle: str | None) -> Profile:
        """The asked-for account, or the archive's owner; Unreadable if the archive is another's or does not tell."""
        with ExitStack() as stack:
            owner = self._owner(self._members(stack), handle)
        if handle is not None:
            handle = handle.lstrip("@")
            return Profile(handle=handle, name=owner.name if owner else handle)
        if owner is None:
            raise self._unreadable("it does not say whose posts these are. Name the handle, or attach account.js too.")
        return owner

    async def posts(self, handle: str, since: str | None = None) -> AsyncIterator[Post]:
        """Every post once, long ones in full; then long posts without a tweet. Unreadable if damaged.

        Memory is bounded by the notes and the ids, not by the texts.
        """
        with ExitStack() as stack:
            members = self._members(stack)
            self._owner(members, handle)
            notes = Notes(m for m in members if m.kind == "notes")
            seen: set[str] = set()
            count = 0
            for member in _tweets_of(members):
                for entry in _entries(member):
                    count += 1
                    if count > MAX_ENTRIES:
                        raise self._unreadable(f"it holds more than {MAX_ENTRIES:,} posts. Attach a part of them.")
                    if count % PAUSE_EVERY == 0:
                        await asyncio.sleep(0)
                    post = _post(entry, f"{member.name}#{count}")
                    if post and post.id not in seen:
                        seen.add(post.id)
                        yield notes.in_full(post)
            if count and not seen:
                raise self._unreadable(f"none of its {count} entries is a post. Is this tweets.js of an X archive?")
            for note in notes.left_over():
                if note.id not in seen:
                    yield note

    def _members(self, stack: ExitStack) -> list[Member]:
        members: list[Member] = []
        for path in self._inputs:
            try:
                with path.open("rb") as file:
                    head = file.read(HEAD_BYTES)
            except OSError as exc:
                raise Unreadable(path.name, f"it can't be opened ({exc.strerror}). Attach it again.") from exc
            if is_zip(path, head):
                members += zip_members(path, _kind, stack)
                continue
            if not head:
                raise Unreadable(path.name, "it is empty. Copy it out of the archive again.")
            if known := _loose_kind(path.name, head):
                members.append(Member(name=path.name, kind=known[0], part=known[1], open=partial(FileIO, path)))
        if not _tweets_of(members):
            raise self._unreadable("there are no tweets in it (data/tweets.js). Is this an X archive? " + _AGAIN)
        return members

    def _owner(self, members: Sequence[Member], asked: str | None) -> Profile | None:
        """The archive's owner, if it tells; Unreadable if that is not the one asked for, or not one alone."""
        owners = owners_of(members)
        if trouble := owner_trouble([owner.handle for owner in owners], asked):
            raise self._unreadable(trouble)
        return owners[0] if owners else None

    def _unreadable(self, reason: str) -> Unreadable:
        return Unreadable(", ".join(path.name for path in self._inputs) or "the archive", reason)


def _kind(name: str) -> tuple[str, int] | None:
    """What a file of that name holds and its part, or its month; None if that is none of our business."""
    if _TABLE.search(name):
        return "table", 0
    match = _NAME.search(name)
    if match is None:
        return None
    if match["month"]:
        return "months", int(match["month"].replace("_", ""))
    kind = _KINDS.get(match["kind"].lower().replace("_", "-"))
    return (kind, int(match["part"] or 0)) if kind else None


def _loose_kind(name: str, head: bytes) -> tuple[str, int] | None:
    """The same of a file by itself, that may have been renamed: by the variable in it, else by its name."""
    if name.lower().endswith(".csv"):
        return "table", 0
    by_name = _kind(name)
    variable = _VARIABLE.match(head)
    if variable is None:
        return by_name or (("tweets", 0) if _ARRAY.match(head) else None)
    word = variable[2].decode("ascii", "replace")
    if word == "__THAR_CONFIG":
        return "manifest", 0
    if month := _MONTH.fullmatch(word):
        return "months", int(month[1].replace("_", ""))
    kind = _KINDS.get(word.lower().replace("_", "-"))
    if kind:
        return kind, by_name[1] if by_name else 0
    return None if variable[1] else by_name


def _tweets_of(members: Sequence[Member]) -> list[Member]:
    """Newest layout first, for old ones cut long posts; the table of Grailbird only where its scripts are missing."""
    scripts = [m for kind in ("tweets", "months") for m in members if m.kind == kind]
    return scripts or [m for m in members if m.kind == "table"]


def _entries(member: Member) -> Iterator[object]:
    if member.kind == "table":
        return _rows(member)
    return entries(texts(chunks(member), member.name), member.name)


def _rows(member: Member) -> Iterator[object]:
    with opened(member) as stream, TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="") as file:
        for _, row in delimited_rows(file, member.name):
            yield row


def _post(entry: object, fallback_id: str) -> Post | None:
    item = entry.get("tweet", entry) if isinstance(entry, dict) else None
    return post_from(item, fallback_id) if isinstance(item, dict) else None
