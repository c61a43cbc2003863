"""Public posts from the export that Mastodon gives an account's owner: a ZIP, a tar.gz, or its bare outbox.json.

Only outbox.json and actor.json are read, and nothing is extracted: likes, bookmarks and media are left alone. What the
outbox holds for followers, for single people, or unlisted is passed over as if it were not there.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import tarfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any

from yarl import URL

from models.errors import Unreadable
from models.records import Post, Profile
from trainer.sources.base import PAUSE_EVERY
from trainer.sources.fields import (
    MAX_NAME_CHARS,
    as_handle,
    as_id,
    as_language,
    as_text,
    one_line,
    owner_trouble,
    parse_time,
    same_handle,
)
from trainer.sources.html_text import html_text, without_emoji
from trainer.sources.json_stream import entries, texts
from trainer.sources.members import (
    CHUNK_BYTES,
    MAX_MEMBER_BYTES,
    MAX_RATIO,
    RATIO_FLOOR_BYTES,
    Member,
    chunks,
    is_zip,
    zip_members,
)

MAX_ENTRIES = 1_000_000  # their ids are held in memory; 100,000 posts are a lot for a person
MAX_ACTOR_BYTES = 4 << 20  # held in memory; one is about 4 KB
MAX_PREFIX_CHARS = 64 << 10  # before the posts: the collection's own few fields
MAX_BIO_CHARS = 20_000
HEAD_BYTES = 16 << 10  # enough to tell what a bare file is
PEEKED_ENTRIES = 100  # among which the author is looked for if there is no actor.json

_BLOCK = 512  # of a tar
_GZIP = b"\x1f\x8b"
_MEMBER = re.compile(r"(?:^|[/\\])(outbox|actor)\.json\Z", re.IGNORECASE)
_BARE_NAME = re.compile(r"(outbox|actor)\b", re.IGNORECASE)
_OTHER_LISTS = re.compile(rb'"id"\s*:\s*"(?:likes|bookmarks)\.json"')
_POSTS = re.compile(r'"orderedItems"\s*+:\s*+(?=\[)')  # in a text, its first quote would come with a backslash
_STATUS = re.compile(r"/statuses/(\d{1,40})(?:/activity)?\Z", re.ASCII)
_USER_PATH = re.compile(r"(?<!/ap)/(?:users/|@)([\w.-]{1,64})(?:/|\Z)", re.ASCII)  # /ap/users/ has numbers
_PUBLIC = frozenset(("https://www.w3.org/ns/activitystreams#Public", "as:Public", "Public"))  # ActivityPub §5.6
_NOTES = ("Note", "Question")
_DAMAGE = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError)
_AGAIN = "Request the archive again and attach it as it came."

Item = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _File:
    name: str  # as an error calls it
    kind: str  # "outbox" or "actor"
    read: Callable[[int], Iterator[bytes]]  # its bytes; Unreadable if there are more than so many


@dataclass(frozen=True, kw_only=True)
class _Owner:
    handle: str  # user@host, the host that of the account's server
    name: str
    bio: str = ""


class MastodonArchive:
    """The public posts in an export: one or several ZIPs or tar.gz, or bare outbox.json and actor.json."""

    def __init__(self, inputs: Sequence[Path]) -> None:
        self._inputs = tuple(inputs)

    async def profile(self, handle: str | None) -> Profile:
        """The asked-for account, or the archive's owner; Unreadable if the archive is another's or does not tell.

        Whoever has the export has the account: what the account tells strangers not to do is no matter here.
        """
        with ExitStack() as stack:
            owner = self._owner(self._files(stack), handle)
        asked = (handle or "").lstrip("@")
        if owner is None:
            if not asked:
                raise self._unreadable("it does not say whose posts these are. Name the handle, or attach actor.json.")
            return Profile(handle=asked, name=asked)
        return Profile(
            handle=asked if "@" in asked else owner.handle,
            name=owner.name,
            bio=owner.bio[:MAX_BIO_CHARS],
        )

    async def posts(self, handle: str, since: str | None = None) -> AsyncIterator[Post]:
        """Every public post, whatever `since`; boosts as retweets without their text. Unreadable if damaged.

        Memory is bounded by the ids, not by the posts.
        """
        with ExitStack() as stack:
            files = self._files(stack)
            self._owner(files, handle)
            seen: set[str] = set()
            count = activities = 0
            for file in (f for f in files if f.kind == "outbox"):
                for entry in _outbox(file):
                    count += 1
                    if count > MAX_ENTRIES:
                        raise self._unreadable(f"it holds more than {MAX_ENTRIES:,} posts. Attach a part of them.")
                    if count % PAUSE_EVERY == 0:
                        await asyncio.sleep(0)
                    if not isinstance(entry, dict) or entry.get("type") not in ("Create", "Announce"):
                        continue
                    activities += 1
                    post = _post(entry, f"{file.name}#{count}")
                    if post is not None and post.id not in seen:
                        seen.add(post.id)
                        yield post
            if count and not activities:
                raise self._unreadable(f"none of its {count} entries is a post. Is this outbox.json of Mastodon?")

    def _files(self, stack: ExitStack) -> list[_File]:
        files: list[_File] = []
        for path in self._inputs:
            head = _head(path)
            if is_zip(path, head):
                files += [_file(member) for member in zip_members(path, _kind, stack)]
            elif head.startswith(_GZIP):
                files += [
                    _File(name=f"{path.name}: {kind}.json", kind=kind, read=partial(_tar_chunks, path, kind))
                    for kind in ("actor", "outbox")
                ]
            elif kind := _bare_kind(path, head):
                files.append(_file(Member(name=path.name, kind=kind, part=0, open=partial(FileIO, path))))
        if not any(f.kind == "outbox" for f in files):
            raise self._unreadable(f"there are no posts in it (outbox.json). Is this a Mastodon archive? {_AGAIN}")
        return files

    def _owner(self, files: list[_File], asked: str | None) -> _Owner | None:
        """The archive's owner, if it tells; Unreadable if that is not the one asked for, or not one alone."""
        owners = [owner for f in files if f.kind == "actor" and (owner := _named_owner(f))]
        owners = owners or [owner for f in files if f.kind == "outbox" and (owner := _author(f))]
        if trouble := owner_trouble([owner.handle for owner in owners], asked, is_asked=_is_same):
            raise self._unreadable(trouble)
        return owners[0] if owners else None

    def _unreadable(self, reason: str) -> Unreadable:
        return Unreadable(", ".join(path.name for path in self._inputs) or "the archive", reason)


def is_export(inputs: Sequence[Path]) -> bool:
    """Whether any of the files is of Mastodon, by what is in it. Unreadable if one is no file or no whole ZIP."""
    for path in inputs:
        head = _head(path)
        if is_zip(path, head):
            with ExitStack() as stack:
                if any(member.kind == "outbox" for member in zip_members(path, _kind, stack)):
                    return True
        elif head.startswith(_GZIP) or _bare_kind(path, head):
            return True
    return False


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as exc:
        raise Unreadable(path.name, f"it can't be opened ({exc.strerror}). Attach it again.") from exc
    if not head:
        raise Unreadable(path.name, f"it is empty. {_AGAIN}")
    return head


def _file(member: Member) -> _File:
    return _File(name=member.name, kind=member.kind, read=partial(chunks, member))


def _kind(name: str) -> tuple[str, int] | None:
    match = _MEMBER.search(name)
    return (match[1].lower(), 0) if match else None


def _bare_kind(path: Path, head: bytes) -> str | None:
    """What a file out of an export holds, by its own word, else by its name; None if it is none of our business."""
    if _OTHER_LISTS.search(head):
        return None
    if b'"orderedItems"' in head:
        return "outbox"
    if b'"preferredUsername"' in head:
        return "actor"
    match = _BARE_NAME.match(path.name)
    return match[1].lower() if match else None


def _tar_chunks(path: Path, kind: str, limit: int) -> Iterator[bytes]:
    """The bytes of that member of a tar.gz, none if it is not there; Unreadable if it is damaged, or a bomb.

    Read block by block: tarfile would take the extended headers of a stranger's file into memory, however long.
    """
    try:
        allowed = max(RATIO_FLOOR_BYTES, MAX_RATIO * path.stat().st_size)  # of all members together, media too
        with gzip.open(path, "rb") as stream:
            while len(header := stream.read(_BLOCK)) == _BLOCK and header.strip(b"\x00"):
                info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
                is_wanted = info.isreg() and _kind(info.name) == (kind, 0)
                allowed -= info.size
                if info.size < 0 or allowed < 0 or (is_wanted and info.size > limit):
                    raise _too_big(path)
                for piece in _pieces(stream, info.size):
                    if is_wanted:
                        yield piece
                if is_wanted:
                    return
                stream.read(-info.size % _BLOCK)
    except _DAMAGE as exc:
        raise Unreadable(path.name, f"it is no whole tar.gz. {_AGAIN}") from exc


def _pieces(stream: gzip.GzipFile, size: int) -> Iterator[bytes]:
    """So many bytes, in chunks; EOFError if there are fewer."""
    while size > 0:
        piece = stream.read(min(size, CHUNK_BYTES))
        if not piece:
            raise EOFError
        size -= len(piece)
        yield piece


def _too_big(path: Path) -> Unreadable:
    return Unreadable(path.name, f"it unpacks to far more than an archive of posts would (a “zip bomb”?). {_AGAIN}")


def _outbox(file: _File) -> Iterator[object]:
    """The activities, one at a time; Unreadable if there is no list of them."""
    source = texts(file.read(MAX_MEMBER_BYTES), file.name)
    window, found = "", None
    for text in source:
        window += text
        if (found := _POSTS.search(window)) or len(window) > MAX_PREFIX_CHARS:
            break
    if not window:
        raise Unreadable(file.name, f"it is not there, or empty. {_AGAIN}")
    if found is None:
        raise Unreadable(file.name, f"it has no list of posts (orderedItems). Attach outbox.json as it came. {_AGAIN}")

    def rest() -> Iterator[str]:
        yield window[found.end() :]
        yield from source

    return entries(rest(), file.name)


def _named_owner(file: _File) -> _Owner | None:
    """Whom an actor.json names; None if it names nobody."""
    data = b"".join(file.read(MAX_ACTOR_BYTES))
    try:
        actor = json.loads(data.decode("utf-8-sig")) if data else None
    except (ValueError, RecursionError) as exc:
        raise Unreadable(file.name, f"the file is damaged. {_AGAIN}") from exc
    if not isinstance(actor, dict):
        return None
    user, host = as_text(actor.get("preferredUsername")), _host(actor.get("id"))
    handle = as_handle(f"{user}@{host}") if user and host else None
    if handle is None:
        return None
    emoji = _shortcodes(actor)
    name = one_line(without_emoji(as_text(actor.get("name")) or "", emoji), MAX_NAME_CHARS)
    bio = without_emoji(html_text(as_text(actor.get("summary")) or ""), emoji)
    return _Owner(handle=handle, name=name or str(user), bio=bio)


def _author(file: _File) -> _Owner | None:
    """Who wrote an outbox, by the addresses in it; None if they don't tell."""
    for entry in islice(_outbox(file), PEEKED_ENTRIES):
        if not isinstance(entry, dict) or entry.get("type") != "Create":
            continue
        inner = entry.get("object")
        for address in (entry.get("actor"), inner.get("url") if isinstance(inner, dict) else None):
            text, host = as_text(address) or "", _host(address)
            match = _USER_PATH.search(text)
            if host and match and (handle := as_handle(f"{match[1]}@{host}")):
                return _Owner(handle=handle, name=match[1])
    return None


def _is_same(owner: str, asked: str) -> bool:
    """Whether a handle is the owner's: by name alone too, and with the domain that the server's host is below."""
    if same_handle(owner, asked):
        return True
    user, _, domain = asked.lstrip("@").partition("@")
    own_user, _, host = owner.partition("@")
    return same_handle(user, own_user) and (not domain or ("." in domain and host.endswith(f".{domain.casefold()}")))


def _post(activity: Item, fallback_id: str) -> Post | None:
    """The post of an activity; None if not everybody may read it, or it is no post."""
    inner = activity.get("object")
    if activity["type"] == "Announce":
        if not _is_public(activity.get("to")):
            return None
        address = as_text(inner.get("id") if isinstance(inner, dict) else inner) or ""
        return Post(
            id=_short(activity.get("id")) or fallback_id,
            text=address,
            is_escaped=False,
            created_at=parse_time(activity.get("published")),
            is_retweet=True,
        )
    if not isinstance(inner, dict) or inner.get("type") not in _NOTES:
        return None
    if not _is_public(inner.get("to")) or ("to" in activity and not _is_public(activity["to"])):
        return None
    by_language = inner.get("contentMap")
    versions = list(by_language.items()) if isinstance(by_language, dict) else []
    content = as_text(inner.get("content")) or (as_text(versions[0][1]) if versions else None) or ""
    answered = inner.get("inReplyTo")
    answered = as_text(answered.get("id") if isinstance(answered, dict) else answered)
    author = as_text(inner.get("attributedTo")) or as_text(activity.get("actor"))
    is_own = bool(answered and author and answered.startswith(f"{author}/"))
    return Post(
        id=_short(inner.get("id")) or fallback_id,
        text=without_emoji(html_text(content), _shortcodes(inner)),
        is_escaped=False,
        created_at=parse_time(inner.get("published")),
        reply_to_id=_short(answered) if is_own else None,
        reply_to_handle=_answered_handle(inner, answered) if answered and not is_own else None,
        lang=as_language(versions[0][0]) if len(versions) == 1 else None,
    )


def _answered_handle(note: Item, answered: str) -> str | None:
    """Whom a note answers: the mentioned account that the answered note is of, else the first that is mentioned."""
    mentions = [tag for tag in _dicts(note.get("tag")) if tag.get("type") == "Mention"]
    author = (tag for tag in mentions if (href := as_text(tag.get("href"))) and answered.startswith(f"{href}/"))
    mention = next(author, mentions[0] if mentions else {})
    return as_handle(mention.get("name"))


def _is_public(to: object) -> bool:
    """Whether everybody is addressed, by any of the names that ActivityPub allows."""
    addressed = to if isinstance(to, list) else [to]
    return any(isinstance(address, str) and address in _PUBLIC for address in addressed)


def _short(address: object) -> str | None:
    """The id of a status as Mastodon's API has it too; the whole address where the server is another software's."""
    text = as_text(address)
    match = _STATUS.search(text) if text else None
    return match[1] if match else as_id(address)


def _shortcodes(holder: Item) -> set[str]:
    tags = (tag for tag in _dicts(holder.get("tag")) if tag.get("type") == "Emoji")
    return {name.strip(":") for tag in tags if (name := as_text(tag.get("name")))}


def _host(address: object) -> str | None:
    try:
        host = URL(as_text(address) or "").raw_host
    except ValueError:
        return None
    return host.lower() if host else None


def _dicts(value: object) -> list[Item]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
