"""What a training would be before it is one: whose posts, from where, at what cost, and whether it is done already."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from bot.records import ModelVersion
from models.errors import GroundMissing, NothingGiven, OutOfRange, SourceOff, UnevenFiles, Unreadable
from models.files import sha256_of
from models.records import (
    X_REACH,
    X_TOKEN,
    AccountSource,
    Ground,
    RunSpec,
    SourceSettings,
    TrainingSettings,
    XApiSettings,
)
from models.source_errors import ServerClosed

MAX_HANDLES = 10
MAX_NAME_CHARS = 80
ARCHIVE, TABLE, X_API, BLUESKY, MASTODON = "archive", "table", "x_api", "bluesky", "mastodon"
SOURCES = (ARCHIVE, TABLE, X_API, BLUESKY, MASTODON)
FETCHED = (X_API, BLUESKY, MASTODON)
_FORMS = {X_API: "like @nasa", BLUESKY: "like nasa.bsky.social", MASTODON: "like @nasa@example.social"}
_ARCHIVES = (".zip", ".js", ".gz", ".tgz")
_TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")
_SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")
FILES = _ARCHIVES + _TABLES  # suffixes
_LOOSE = re.compile(r".*\.js|outbox\.json|actor\.json|tweets\.csv", re.IGNORECASE)  # archives taken apart
_HANDLE = re.compile(r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?(?:@[\w.-]+)?", re.ASCII)
_X_HANDLE = re.compile(r"\w{1,15}", re.ASCII)
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]", re.ASCII)
_PROFILE_LINK = re.compile(
    r"https?://(?:(?:www\.|mobile\.)?(?:x|twitter)\.com/@?(?P<x>\w+)|bsky\.app/profile/(?P<bluesky>[\w.-]+)"
    r"|(?P<server>[\w.-]+)/@(?P<mastodon>[\w.-]+(?:@(?P<home>[\w.-]+))?))/?(?:\?\S*)?",
    re.IGNORECASE | re.ASCII,
)
_NAME = re.compile(r"[\w][\w .@~+-]*")


@dataclass(frozen=True, kw_only=True)
class PlannedAccount:
    """One account's posts: whose they are, if that is known yet, and from where they come."""

    handle: str | None
    source: str
    files: tuple[Path, ...] = ()
    ground: Ground | None = None
    is_proven: bool = False

    @property
    def record(self) -> AccountSource:
        assert self.ground
        return AccountSource(source=self.source, handle=self.handle, ground=self.ground, is_proven=self.is_proven)

    @property
    def is_fetched(self) -> bool:
        return self.source in FETCHED

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training that could start."""

    name: str | None  # None until the files have told whose they are
    accounts: tuple[PlannedAccount, ...]
    digest: str  # of what it learns from, and how
    max_posts: int  # of an account that is fetched
    usd: float  # at most; 0: it costs nothing
    follows: ModelVersion | None  # the version that it would come after
    ahead: int  # jobs before it

    @property
    def handles(self) -> tuple[str, ...]:
        return tuple(account.handle for account in self.accounts if account.handle)


def accounts_of(
    handles: Sequence[str], files: Sequence[Path], source: str | None = None, ground: Ground | None = None
) -> list[PlannedAccount]:
    """The accounts to learn, from what a person gave.

    Each ZIP and each table is one account; the loose files of an archive are one, up to the next file of the same
    name; several ZIPs with one handle are the parts of one archive. Handles are matched to them in order, X's own
    before those of other platforms; the handles left over are fetched from where their form says. Without handles the
    files tell. `source` says what the files are, instead of their names, or from where all that is fetched has to be.
    An archive is its owner's; anything else needs a ground. UserError says what is missing or wrong.
    """
    known: dict[tuple[str, str], tuple[str, str]] = {}
    for handle, place in map(handle_of, handles):
        known.setdefault((handle.lower(), place), (handle, place))
    wanted = list(known.values())
    if len(wanted) > MAX_HANDLES:
        raise OutOfRange("The number of accounts", len(wanted), allowed=f"at most {MAX_HANDLES}")
    for path in files:
        if not path.is_file():
            raise Unreadable(path.name, "there is no such file")
    groups = _group(files, source if source not in FETCHED else None)
    if not groups and not wanted:
        raise NothingGiven
    if len(wanted) == 1 and len(groups) > 1 and all(kind == ARCHIVE for kind, _ in groups):
        groups = [(ARCHIVE, [path for _, paths in groups for path in paths])]
    if wanted and len(wanted) < len(groups):
        raise UnevenFiles(files=len(groups), handles=len(wanted))
    owners = sorted(wanted, key=lambda each: each[1] != X_API)[: len(groups)]  # sorting keeps the order otherwise
    owners = [each for each in wanted if each in owners]
    accounts = [
        PlannedAccount(source=kind, handle=owners[number][0] if owners else None, files=tuple(paths))
        for number, (kind, paths) in enumerate(groups)
    ]
    accounts += [
        PlannedAccount(source=place, handle=handle) for handle, place in wanted if (handle, place) not in owners
    ]
    for account in accounts:
        if source in _FORMS and account.is_fetched and account.source != source:
            raise OutOfRange(f"A handle with source:{source}", f"“{account.handle}”", allowed=_FORMS[source])
    return [_grounded(account, ground) for account in accounts]


def require_x_api(accounts: Sequence[PlannedAccount], *, is_on: bool) -> None:
    """SourceOff if an account is to come from X and the operator has not switched that on; OutOfRange if it can't."""
    for account in accounts:
        if account.source != X_API:
            continue
        assert account.handle
        if not is_on:
            raise SourceOff(account.handle)
        if not _X_HANDLE.fullmatch(account.handle):
            raise OutOfRange("A handle on X", f"“{account.handle[:60]}”", allowed="at most 15 letters, digits and _")


def require_open_servers(accounts: Sequence[PlannedAccount], closed: Sequence[str]) -> None:
    """ServerClosed if an account is on a server whose terms forbid this; where a handle tells that."""
    for account in accounts:
        server = (account.handle or "").partition("@")[2]
        if account.source == MASTODON and server in closed:
            assert account.handle
            raise ServerClosed(account.handle, where=server)


async def digest_of(accounts: Sequence[PlannedAccount], training: TrainingSettings) -> str:
    """SHA-256 of everything that the outcome of a training depends on, but for what platforms give at that time."""

    def hash_all() -> str:
        parts: list[object] = [msgspec.to_builtins(training)]
        for account in accounts:
            contents = sorted(sha256_of(path) for path in account.files)
            parts.append([account.source, account.handle and account.handle.lower(), contents])
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()

    return await asyncio.to_thread(hash_all)


def cost_usd(accounts: Sequence[PlannedAccount], sources: SourceSettings, x_api: XApiSettings) -> float:
    """What collecting the accounts costs at most: X takes money for each post and each profile that it returns."""
    each = x_api.user_usd + min(sources.max_posts, X_REACH) * x_api.post_usd
    return each * sum(account.source == X_API for account in accounts)


def secrets_for(stage: str, spec: RunSpec) -> tuple[str, ...]:
    """The names of the secrets that a stage needs: only what talks to X gets X's token."""
    asks_x = stage != "fit" and any(account.source == X_API for account in spec.accounts)
    return (X_TOKEN,) if asks_x else ()


def model_name(handles: Sequence[str]) -> str:
    """The name of a model that was given none: its handles, lower case, sorted, joined by hyphens."""
    return "-".join(sorted(handle.lower() for handle in handles))


def handle_of(text: str) -> tuple[str, str]:
    """(the handle without its @, where such a handle is from); OutOfRange if it can't be one.

    `@nasa` is from X, `nasa.bsky.social` from Bluesky, `@nasa@example.social` from Mastodon; a link to a profile tells
    as well.
    """
    text = text.strip()
    if link := _PROFILE_LINK.fullmatch(text):
        text = (
            link["x"]
            or link["bluesky"]
            or (link["mastodon"] if link["home"] else f"{link['mastodon']}@{link['server']}")
        )
    handle = text.removeprefix("@")
    if len(handle) > 100 or not _HANDLE.fullmatch(handle):
        allowed = "like @nasa, nasa.bsky.social or @nasa@example.social"
        raise OutOfRange("A handle", f"“{text[:60]}”", allowed=allowed)
    user, _, server = handle.partition("@")
    if server:
        if not _DOMAIN.fullmatch(server):
            raise OutOfRange("A handle on Mastodon", f"“{text[:60]}”", allowed="like @nasa@example.social")
        return f"{user}@{server.lower()}", MASTODON
    if _DOMAIN.fullmatch(handle):
        return handle.lower(), BLUESKY
    return handle, X_API


def checked_handle(text: str) -> str:
    """The handle without its @; OutOfRange if it can't be one."""
    return handle_of(text)[0]


def checked_name(text: str) -> str:
    """The model's name as it is kept; OutOfRange if it can't be one."""
    name = text.strip().removeprefix("@")
    if len(name) > MAX_NAME_CHARS or not _NAME.fullmatch(name):
        raise OutOfRange(
            "A model's name", f"“{text[:60]}”", allowed=f"letters, digits, spaces and . _ -, at most {MAX_NAME_CHARS}"
        )
    return name


def _grounded(account: PlannedAccount, ground: Ground | None) -> PlannedAccount:
    if ground is None and account.source == ARCHIVE:
        ground = "own_archive"
    if ground is None or (ground == "own_archive" and account.is_fetched):
        raise GroundMissing(f"@{account.handle}" if account.handle else "this account")
    return replace(account, ground=ground)


def _group(files: Sequence[Path], source: str | None) -> list[tuple[str, list[Path]]]:
    """(source, its files) for each account. Unreadable for a kind of file that no source reads."""
    groups: list[tuple[str, list[Path]]] = []
    loose: list[Path] = []
    for path in files:
        is_loose = bool(_LOOSE.fullmatch(path.name))
        suffix = path.suffix.lower()
        kind = source or (ARCHIVE if is_loose or suffix in _ARCHIVES else TABLE if suffix in _TABLES else None)
        if suffix in _SPREADSHEETS:
            raise Unreadable(path.name, "it is a spreadsheet. Save it as CSV, and attach that.")
        if kind is None:
            reason = (
                "it is neither an archive (.zip, .tar.gz, tweets.js, outbox.json) nor a table (.csv, .json, .jsonl)"
            )
            raise Unreadable(path.name, reason)
        if not is_loose:
            groups.append((kind, [path]))
        elif not loose or path.name in (known.name for known in loose):
            loose = [path]
            groups.append((kind, loose))
        else:
            loose.append(path)
    return groups
