"""Whose an X archive is: handle and name out of the files that tell, and nothing else of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec import Struct, field

from models.errors import Unreadable
from models.records import Profile
from trainer.sources.fields import MAX_NAME_CHARS, as_handle, as_text, author_of, name_of, one_line
from trainer.sources.json_stream import entries, texts
from trainer.sources.members import Member, chunks

MAX_OWNER_BYTES = 16 << 20


# The files hold the e-mail address and more; what is not named here is not decoded.
class _Account(Struct):
    handle: str | None = field(default=None, name="username")
    name: str | None = field(default=None, name="accountDisplayName")


class _AccountFile(Struct):
    user: _Account | None = field(default=None, name="account")


class _UserInfo(Struct):
    handle: str | None = field(default=None, name="userName")
    name: str | None = field(default=None, name="displayName")


class _Manifest(Struct):
    user: _UserInfo | None = field(default=None, name="userInfo")


class _UserDetails(Struct):
    handle: str | None = field(default=None, name="screen_name")
    name: str | None = field(default=None, name="full_name")


def owners_of(members: Sequence[Member]) -> list[Profile]:
    """The owners that the files name, by the most reliable kind of file that there is; Unreadable if one is damaged.

    Months of Grailbird tell by the author of their first post.
    """
    for kind in ("account", "manifest", "user_details", "months"):
        if owners := list(_owners(member for member in members if member.kind == kind)):
            return owners
    return []


def _owners(members: Iterable[Member]) -> Iterator[Profile]:
    for member in members:
        handle, name = _first_author(member) if member.kind == "months" else _named(member)
        if handle := as_handle(handle):
            yield Profile(handle=handle, name=one_line(as_text(name) or "", MAX_NAME_CHARS) or handle)


def _first_author(member: Member) -> tuple[str | None, str | None]:
    first = next(entries(texts(chunks(member), member.name), member.name), None)
    return (author_of(first), name_of(first)) if isinstance(first, dict) else (None, None)


def _named(member: Member) -> tuple[str | None, str | None]:
    data = b"".join(chunks(member, MAX_OWNER_BYTES)).partition(b"=")[2].strip().rstrip(b";")
    user: _Account | _UserInfo | _UserDetails | None
    try:
        if member.kind == "account":
            user = next((entry.user for entry in msgspec.json.decode(data, type=list[_AccountFile])), None)
        elif member.kind == "manifest":
            user = msgspec.json.decode(data, type=_Manifest).user
        else:
            user = msgspec.json.decode(data, type=_UserDetails)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise Unreadable(
            member.name,
            "the file with the account's name is damaged. Download your archive from X again and attach it as it came.",
        ) from exc
    return (user.handle, user.name) if user else (None, None)
