"""Posts from the archive that X gives an account's owner: the ZIP in every layout since 2018, or its bare .js files.

Nothing is extracted. Only the members with tweets, note-tweets, and the owner's name are ever opened, so that messages,
contacts, likes and deleted or restricted posts are not read. The files are strangers': sizes, ratios and encryption are
checked in the directory and sizes again while reading.

Entries are decoded one by one from a window of text with the standard library's JSON scanner: ijson 3.6.0's C backend
was tried and crashed the process (segmentation fault) on a 6,000-digit integer and on 100,000 nested brackets.
"""

from __future__ import annotations

import asyncio
import codecs
import html
import json
import re
import struct
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct, field

from models.errors import Unreadable
from models.records import Post, Profile
from trainer.sources.base import PAUSE_EVERY
from trainer.sources.fields import as_handle, as_text, parse_time, post_from, same_handle

MAX_MEMBERS = 1_000_000
MAX_MEMBER_BYTES = 8 << 30  # uncompressed; 100,000 posts are about 300 MB
MAX_RATIO = 200  # JSON of posts deflates to about a tenth
RATIO_FLOOR_BYTES = 50 << 20  # below this no ratio is suspicious
MAX_NOTES_BYTES = 256 << 20  # notes are held in memory
MAX_OWNER_BYTES = 16 << 20
MAX_ENTRY_CHARS = 1 << 20  # a post is about 3 KB
CHUNK_BYTES = 256 << 10
NOTE_PREFIX = 40  # characters that a note and its shortened tweet have in common

_KINDS = {
    "tweet": "tweets",
    "tweets": "tweets",
    "note-tweet": "notes",
    "note-tweets": "notes",
    "account": "account",
    "manifest": "manifest",
}
_MEMBER = re.compile(r"(?:^|[/\\])([a-z-]+?)(?:-part(\d+))?\.js\Z", re.IGNORECASE)
_GLOBAL = re.compile(rb"YTD\.(\w+)\.part\d+\s*=")
_GRAILBIRD = re.compile(r"(?:^|[/\\])(?:data/js/tweets/\w+\.js|tweets\.csv)\Z")
_START = re.compile(r"(?:[^=\[]{0,1000}=\s*)?\[")  # the global's name has changed over the years: any will do
_GAP = re.compile(r"[\s,]*")
_SHORT_LINK = re.compile(r"https?://t\.co/\w*")
_MENTIONS = re.compile(r"(?:@\w{1,15}\s+)+")
_DECODER = json.JSONDecoder()
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError, OverflowError)
_AGAIN = "Download your archive from X again and attach the ZIP as it came."


class _Account(Struct):  # the file holds the e-mail address too; what is not named here is not decoded
    handle: str | None = field(default=None, name="username")
    name: str | None = field(default=None, name="accountDisplayName")


class _AccountFile(Struct):
    user: _Account | None = field(default=None, name="account")


class _UserInfo(Struct):
    handle: str | None = field(default=None, name="userName")
    name: str | None = field(default=None, name="displayName")


class _Manifest(Struct):
    user: _UserInfo | None = field(default=None, name="userInfo")


@dataclass(frozen=True, kw_only=True)
class _Member:
    name: str  # as an error calls it
    kind: str  # a value of _KINDS
    part: int
    open: Callable[[], IO[bytes]]
    limit: int = MAX_MEMBER_BYTES  # bytes that it may yield


@dataclass(kw_only=True)
class _Note:
    post: Post
    prefix: str
    matched: bool = False


class XArchive:
    """The posts in an X archive: one or several ZIPs (parts of one archive), or bare .js files out of it."""

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

    async def posts(self, handle: str, since: datetime | None = None) -> AsyncIterator[Post]:
        """Every post, long ones in full, undated ones always; then long posts without a tweet. Unreadable if damaged.

        Memory is bounded by the notes and the ids, not by the number of posts.
        """
        with ExitStack() as stack:
            members = self._members(stack)
            self._owner(members, handle)
            notes = _read_notes(members)
            seen: set[str] = set()
            entries = 0
            for member in (m for m in members if m.kind == "tweets"):
                for entry in _entries(member):
                    entries += 1
                    if entries % PAUSE_EVERY == 0:
                        await asyncio.sleep(0)
                    post = _tweet(entry, f"{member.name}#{entries}")
                    if post is None or post.id in seen:
                        continue
                    seen.add(post.id)
                    post = _in_full(post, notes)
                    if _is_after(post, since):
                        yield post
            if entries and not seen:
                raise self._unreadable(f"none of its {entries} entries is a post. Is this tweets.js of an X archive?")
            for note in (n for group in notes.values() for n in group):
                if not note.matched and note.post.id not in seen and _is_after(note.post, since):
                    yield note.post

    def _members(self, stack: ExitStack) -> list[_Member]:
        members: list[_Member] = []
        for path in self._inputs:
            try:
                with path.open("rb") as file:
                    head = file.read(4096)
                if path.suffix.lower() == ".zip" or head.startswith(b"PK\x03\x04"):
                    members += _zip_members(path, stack)
                    continue
            except OSError as exc:
                raise Unreadable(path.name, f"it can't be opened ({exc.strerror}). Attach it again.") from exc
            if not head:
                raise Unreadable(path.name, "it is empty. Copy it out of the archive again.")
            if kind := _bare_kind(path, head):
                match = _MEMBER.search(path.name)
                part = int(match[2] or 0) if match else 0
                members.append(_Member(name=path.name, kind=kind, part=part, open=partial(FileIO, path)))
        if not any(m.kind == "tweets" for m in members):
            raise self._unreadable("there are no tweets in it (data/tweets.js). Is this an X archive? " + _AGAIN)
        return members

    def _owner(self, members: list[_Member], asked: str | None) -> Profile | None:
        """The archive's owner, if it tells; Unreadable if that is not the one asked for, or not one alone."""
        owners = [o for m in members if m.kind == "account" and (o := _named_owner(m))]
        owners = owners or [o for m in members if m.kind == "manifest" and (o := _named_owner(m))]
        for owner in owners:
            if not same_handle(owner.handle, owners[0].handle):
                raise self._unreadable(
                    f"these are archives of several accounts, @{owners[0].handle} and "
                    f"@{owner.handle}. Attach the parts of one archive only."
                )
            if asked is not None and not same_handle(owner.handle, asked):
                raise self._unreadable(
                    f"it is the archive of @{owner.handle}, not of @{asked.lstrip('@')}. "
                    f"Ask for @{owner.handle}, or attach the archive of @{asked.lstrip('@')}."
                )
        return owners[0] if owners else None

    def _unreadable(self, reason: str) -> Unreadable:
        return Unreadable(", ".join(path.name for path in self._inputs) or "the archive", reason)


def _zip_members(path: Path, stack: ExitStack) -> list[_Member]:
    """The members worth opening, in the order of their part numbers."""
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except _DAMAGE as exc:
        raise Unreadable(path.name, f"it is not a ZIP, or not a whole one. {_AGAIN}") from exc
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise Unreadable(path.name, f"it holds more than {MAX_MEMBERS:,} files, which no X archive does.")
    members = []
    for info in infos:
        match = _MEMBER.search(info.filename)
        kind = _KINDS.get(match[1].lower()) if match else None
        if match is None or kind is None:
            continue
        limit = min(MAX_MEMBER_BYTES, max(RATIO_FLOOR_BYTES, MAX_RATIO * info.compress_size))
        if info.flag_bits & 0x1:
            raise Unreadable(path.name, "it is locked with a password. Attach it without one.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unreadable(path.name, f"it was packed in an unusual way. {_AGAIN}")  # bz2 and xz unpack unbounded
        if info.file_size > limit:
            raise _too_big(f"{path.name}: {info.filename}")
        members.append(
            _Member(
                name=f"{path.name}: {info.filename}",
                kind=kind,
                part=int(match[2] or 0),
                limit=limit,
                open=partial(archive.open, info),
            )
        )
    if not members and any(_GRAILBIRD.search(info.filename) for info in infos):
        raise Unreadable(path.name, "it is an archive from before 2018, which I don't know. Request a new one from X.")
    return sorted(members, key=lambda m: m.part)


def _bare_kind(path: Path, head: bytes) -> str | None:
    """What a file out of an archive holds by its own word, else by its name; None if that is none of our business."""
    if found := _GLOBAL.search(head):
        return _KINDS.get(found[1].decode("ascii", "replace").replace("_", "-"))
    if b"__THAR_CONFIG" in head:
        return "manifest"
    match = _MEMBER.search(path.name)
    return _KINDS.get(match[1].lower(), "tweets") if match else "tweets"


def _too_big(name: str) -> Unreadable:
    return Unreadable(name, f"it unpacks to far more than an X archive would (a “zip bomb”?). {_AGAIN}")


def _chunks(member: _Member, limit: int = MAX_MEMBER_BYTES) -> Iterator[bytes]:
    """The member's bytes; Unreadable if there are more than allowed, or the ZIP is damaged here."""
    total = 0
    try:
        with member.open() as stream:
            while chunk := stream.read(CHUNK_BYTES):
                total += len(chunk)
                if total > min(limit, member.limit):
                    raise _too_big(member.name)
                yield chunk
    except (*_DAMAGE, OSError) as exc:
        raise Unreadable(member.name, f"the file is damaged. {_AGAIN}") from exc


def _texts(member: _Member, limit: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        for chunk in _chunks(member, limit):
            if text := decoder.decode(chunk):
                yield text
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as exc:
        raise Unreadable(member.name, "it is not UTF-8 text. Attach the file as it came from X, not re-saved.") from exc


def _entries(member: _Member, limit: int = MAX_MEMBER_BYTES) -> Iterator[object]:
    """The entries of the array that follows the first `=`, one at a time; Unreadable if it is cut off or no JSON."""
    texts = _texts(member, limit)
    window = next(texts, "").lstrip()
    if not window:
        raise Unreadable(member.name, f"it is empty. {_AGAIN}")
    start = _START.match(window)
    if start is None:
        raise Unreadable(
            member.name,
            "it does not look like a file of an X archive (window.YTD… = [ … ]). Attach data/tweets.js as it is.",
        )
    at, count = start.end(), 0
    while True:
        gap = _GAP.match(window, at)
        at = gap.end() if gap else at
        if window.startswith("]", at):
            return
        try:
            entry, at = _DECODER.raw_decode(window, at)
        except RecursionError as exc:
            raise Unreadable(member.name, f"entry {count + 1} is nested deeper than any post. {_AGAIN}") from exc
        except ValueError as exc:  # not JSON, or not yet: the rest of the entry may be in the next chunk
            more = next(texts, "") if len(window) - at <= MAX_ENTRY_CHARS else ""
            if not more:
                raise Unreadable(member.name, f"it is cut off or damaged after {count} entries. {_AGAIN}") from exc
            window, at = window[at:] + more, 0
            continue
        count += 1
        yield entry


def _unwrapped(entry: object, key: str) -> dict[str, Any] | None:
    inner = entry.get(key, entry) if isinstance(entry, dict) else None
    return inner if isinstance(inner, dict) else None


def _tweet(entry: object, fallback_id: str) -> Post | None:
    item = _unwrapped(entry, "tweet")
    return post_from(item, fallback_id) if item else None


def _read_notes(members: list[_Member]) -> dict[datetime | None, list[_Note]]:
    """The long posts by the second of their making."""
    notes: dict[datetime | None, list[_Note]] = {}
    seen: set[str] = set()
    for member in (m for m in members if m.kind == "notes"):
        for entry in _entries(member, MAX_NOTES_BYTES):
            item = _unwrapped(entry, "noteTweet")
            core = item.get("core") if item else None
            text = as_text(core.get("text")) if isinstance(core, dict) else None
            if item is None or core is None or text is None:
                continue
            note_id = as_text(item.get("noteTweetId")) or f"{member.name}#{len(seen)}"
            if note_id in seen:
                continue
            seen.add(note_id)
            urls = core.get("urls")
            links = (
                as_text(u.get("shortUrl")) for u in (urls if isinstance(urls, list) else ()) if isinstance(u, dict)
            )
            post = Post(
                id=note_id,
                # Tweets come HTML-escaped and notes don't: escaped here, so that cleaning unescapes all posts once.
                text=html.escape(text, quote=False),
                created_at=parse_time(item.get("createdAt")),
                links=tuple(link for link in links if link),
            )
            notes.setdefault(_second(post), []).append(_Note(post=post, prefix=_prefix(post.text)))
    return notes


def _in_full(tweet: Post, notes: dict[datetime | None, list[_Note]]) -> Post:
    """The tweet with its note's text, where one was made in the same second and begins alike.

    The ids never agree, and two notes of a thread can share a second: measured in shared archives, 41 of 41 join so.
    """
    candidates = notes.get(_second(tweet), ()) if tweet.created_at else ()
    prefix = _prefix(tweet.text) if candidates else ""
    for note in candidates:
        if not note.matched and prefix and note.prefix == prefix:
            note.matched = True
            links = tuple(dict.fromkeys((*tweet.links, *note.post.links)))
            return msgspec.structs.replace(tweet, text=note.post.text, links=links)
    return tweet


def _prefix(text: str) -> str:
    plain = _SHORT_LINK.sub(" ", html.unescape(text)).replace("…", " ").lstrip()
    mentions = _MENTIONS.match(plain)
    return " ".join(plain[mentions.end() if mentions else 0 :].split())[:NOTE_PREFIX]


def _second(post: Post) -> datetime | None:
    return post.created_at.replace(microsecond=0) if post.created_at else None


def _is_after(post: Post, since: datetime | None) -> bool:
    return since is None or post.created_at is None or post.created_at > since


def _named_owner(member: _Member) -> Profile | None:
    """Handle and name out of account.js or manifest.js, and nothing else of them; Unreadable if it is damaged."""
    data = b"".join(_chunks(member, MAX_OWNER_BYTES)).partition(b"=")[2].strip().rstrip(b";")
    users: list[_Account | _UserInfo | None]
    try:
        if member.kind == "account":
            users = [entry.user for entry in msgspec.json.decode(data, type=list[_AccountFile])]
        else:
            users = [msgspec.json.decode(data, type=_Manifest).user]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise Unreadable(member.name, f"the file with the account's name is damaged. {_AGAIN}") from exc
    user = users[0] if users else None
    handle = as_handle(user.handle) if user else None
    return Profile(handle=handle, name=as_text(user.name) or handle) if user and handle else None
