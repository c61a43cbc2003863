"""The members of a ZIP that are worth reading, as streams of bytes; nothing is extracted, nothing else is opened.

A ZIP is a stranger's: sizes, ratios, encryption and compression are checked in its directory before anything is read,
and again, where the directory may lie, while reading.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from io import BufferedReader, FileIO
from pathlib import Path
from typing import IO

from models.errors import Unreadable
from trainer.sources.fields import one_line

MAX_MEMBERS = 500_000  # a file of media is a member each; more posts than that have media in no archive of 50 GB
MAX_DIRECTORY_BYTES = 64 << 20  # about 130 a member
MAX_MEMBER_BYTES = 8 << 30  # uncompressed; 100,000 posts of X are about 300 MB
MAX_RATIO = 200  # JSON of posts deflates to about a tenth
RATIO_FLOOR_BYTES = 50 << 20  # below this no ratio is suspicious
CHUNK_BYTES = 256 << 10
NAME_CHARS = 80  # of a member's, in errors and in ids

_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError, OverflowError, OSError)
_AGAIN = "Download the archive again and attach it as it came."

Kinds = Callable[[str], tuple[str, int] | None]  # a member's name -> what it holds and which part of it, if it matters


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file of posts, in a ZIP or by itself."""

    name: str  # as an error calls it
    kind: str
    part: int
    open: Callable[[], IO[bytes]]


def is_zip(path: Path, head: bytes) -> bool:
    """Whether a file calls itself a ZIP, by its suffix or by its first bytes."""
    return path.suffix.lower() == ".zip" or head.startswith(b"PK")


def zip_members(path: Path, kinds: Kinds, stack: ExitStack) -> list[Member]:
    """The members of which `kinds` wants to know, by part; they can be read until the stack is closed.

    Unreadable if it is no whole ZIP, or if one of them is locked, packed in an unusual way, or a bomb.
    """
    try:
        size = path.stat().st_size
        archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(_ZipBytes(FileIO(path)))))
    except _DAMAGE as exc:
        raise Unreadable(path.name, f"it is not a ZIP, or not a whole one. {_AGAIN}") from exc
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise Unreadable(path.name, f"it holds more than {MAX_MEMBERS:,} files, which no archive of posts does.")
    members: list[Member] = []
    total = 0
    for info in infos:
        wanted = kinds(info.filename)
        if wanted is None:
            continue
        if info.flag_bits & 0x1:
            raise Unreadable(path.name, "it is locked with a password. Attach it without one.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # bz2 and xz unpack unbounded
            raise Unreadable(path.name, f"it was packed in an unusual way. {_AGAIN}")
        total += info.file_size  # members may overlap, so that all together unpack to more than each by itself
        name = f"{path.name}: {one_line(info.filename[-NAME_CHARS:], NAME_CHARS)}"
        if info.file_size > _allowed(info.compress_size) or total > _allowed(size):
            raise _too_big(name)
        kind, part = wanted
        members.append(Member(name=name, kind=kind, part=part, open=partial(archive.open, info)))
    return sorted(members, key=lambda member: member.part)


def chunks(member: Member, limit: int = MAX_MEMBER_BYTES) -> Iterator[bytes]:
    """The member's bytes; Unreadable if there are more than `limit`, or the ZIP is damaged here."""
    total = 0
    with opened(member) as stream:
        while chunk := stream.read(CHUNK_BYTES):  # never more than the directory says: zipfile stops there
            total += len(chunk)
            if total > limit:
                raise _too_big(member.name)
            yield chunk


@contextmanager
def opened(member: Member) -> Iterator[IO[bytes]]:
    """The member for reading: what goes wrong with that is Unreadable."""
    try:
        with member.open() as stream:
            yield stream
    except _DAMAGE as exc:
        raise Unreadable(member.name, f"the file is damaged. {_AGAIN}") from exc


class _ZipBytes(BufferedReader):
    """zipfile reads the directory in one go, as large as the ZIP claims it to be: not more than is allowed here."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile("the directory is too large")
        return super().read(size)


def _allowed(packed: int) -> int:
    """Bytes that may come out of so many."""
    return min(MAX_MEMBER_BYTES, max(RATIO_FLOOR_BYTES, MAX_RATIO * packed))


def _too_big(name: str) -> Unreadable:
    return Unreadable(name, f"it unpacks to far more than an archive of posts would (a “zip bomb”?). {_AGAIN}")
