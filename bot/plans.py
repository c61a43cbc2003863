"""What a training would do, worked out before anything runs: accounts, sources, cost, and what is already here."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bot.records import ModelVersion
from models.errors import NoSource, NothingGiven, OutOfRange, UnevenFiles, Unreadable
from models.files import sha256_of
from models.records import AccountSource, TrainingSettings

MAX_HANDLES = 10
MAX_NAME_CHARS = 80
SOURCES = {".zip": "x_archive", ".js": "x_archive", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
_HANDLE = re.compile(r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?(?:@[\w.-]+)?", re.ASCII)
_NAME = re.compile(r"[\w][\w .@~+-]*")


@dataclass(frozen=True, kw_only=True)
class PlannedAccount:
    """One account's posts: whose they are, if that is known yet, and the files that hold them."""

    handle: str | None
    source: str
    files: tuple[Path, ...]

    @property
    def record(self) -> AccountSource:
        return AccountSource(source=self.source, handle=self.handle)

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training that could start."""

    name: str | None  # None until the files have told whose they are
    accounts: tuple[PlannedAccount, ...]
    digest: str  # of what it learns from, and how
    usd: float  # at most; 0: it costs nothing
    follows: ModelVersion | None  # the version that it would come after
    ahead: int  # jobs before it

    @property
    def handles(self) -> tuple[str, ...]:
        return tuple(account.handle for account in self.accounts if account.handle)


def accounts_of(handles: Sequence[str], files: Sequence[Path], source: str | None = None) -> list[PlannedAccount]:
    """The accounts to learn, from what a person gave.

    Each ZIP and each JSONL file is one account; loose .js files are one, up to the next file of the same name. Handles
    are matched to them in order; without handles the files tell. `source` says what the files are, instead of their
    names. UserError says what is missing or wrong.
    """
    wanted = list(dict.fromkeys(checked_handle(h) for h in handles))
    if len(wanted) > MAX_HANDLES:
        raise OutOfRange("The number of accounts", len(wanted), allowed=f"at most {MAX_HANDLES}")
    for path in files:
        if not path.is_file():
            raise Unreadable(path.name, "there is no such file")
    groups = _group(files, source)
    if not groups and not wanted:
        raise NothingGiven
    if len(wanted) > len(groups):
        raise NoSource(wanted[len(groups)])
    if wanted and len(wanted) < len(groups):
        raise UnevenFiles(files=len(groups), handles=len(wanted))
    return [
        PlannedAccount(source=kind, handle=wanted[number] if wanted else None, files=tuple(paths))
        for number, (kind, paths) in enumerate(groups)
    ]


async def digest_of(accounts: Sequence[PlannedAccount], training: TrainingSettings) -> str:
    """SHA-256 of everything that the outcome of a training depends on: the same again would give the same model."""

    def hash_all() -> str:
        parts: list[object] = [msgspec.to_builtins(training)]
        for account in accounts:
            contents = sorted(sha256_of(path) for path in account.files)
            parts.append([account.source, account.handle and account.handle.lower(), contents])
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()

    return await asyncio.to_thread(hash_all)


def cost_usd(accounts: Sequence[PlannedAccount], prices: Mapping[str, float]) -> float:
    """What collecting the accounts costs at most, by the operator's price of each source."""
    return sum(prices.get(account.source, 0.0) for account in accounts)


def model_name(handles: Sequence[str]) -> str:
    """The name of a model that was given none: its handles, lower case, sorted, joined by hyphens."""
    return "-".join(sorted(handle.lower() for handle in handles))


def checked_handle(text: str) -> str:
    """The handle without its @; OutOfRange if it can't be one."""
    handle = text.strip().removeprefix("@")
    if len(handle) > 100 or not _HANDLE.fullmatch(handle):
        raise OutOfRange("A handle", f"“{text[:60]}”", allowed="letters, digits and underscores, like @nasa")
    return handle


def checked_name(text: str) -> str:
    """The model's name as it is kept; OutOfRange if it can't be one."""
    name = text.strip().removeprefix("@")
    if len(name) > MAX_NAME_CHARS or not _NAME.fullmatch(name):
        raise OutOfRange(
            "A model's name", f"“{text[:60]}”", allowed=f"letters, digits, spaces and . _ -, at most {MAX_NAME_CHARS}"
        )
    return name


def _group(files: Sequence[Path], source: str | None) -> list[tuple[str, list[Path]]]:
    """(source, its files) for each account. Unreadable for a kind of file that no source reads."""
    groups: list[tuple[str, list[Path]]] = []
    loose: list[Path] = []
    for path in files:
        kind = source or SOURCES.get(path.suffix.lower())
        if kind is None:
            raise Unreadable(path.name, "it is neither an X archive (.zip, tweets.js) nor posts as .jsonl")
        if path.suffix.lower() != ".js":
            groups.append((kind, [path]))
        elif not loose or path.name in (known.name for known in loose):
            loose = [path]
            groups.append((kind, loose))
        else:
            loose.append(path)
    return groups
