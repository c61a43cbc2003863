"""The collect stage: sources to `raw.jsonl.zst`, and cleaning to `dataset.jsonl` and `stats.json`.

It runs in a child of its own because it parses files, and talks to servers, of strangers.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from models.card import where_posts_went
from models.errors import TooFewPosts, Unreadable
from models.files import read_json, read_raw, write_json
from models.records import AccountSource, Counts, DatasetRow, Post, Profile, Stats
from models.source_errors import OptedOut
from trainer.clean import CLEANING, clean_account
from trainer.run import Run
from trainer.sources import open_source
from trainer.sources.base import Access, Source
from trainer.sources.fields import same_handle
from trainer.sources.pages import Pages

if TYPE_CHECKING:
    from trainer.sources.web import Web

MIN_CHARACTERS = 6_000  # huggingtweets refuses under this
FEW_CHARACTERS = 40_000  # and warns under this
MAX_CHARACTERS = 100_000_000  # of an account; 100,000 posts have some 12,000,000
LIBRARIES = ("aiohttp", "ftfy", "phonenumbers", "py3langid", "rapidfuzz", "regex", "tweepy")


def collect(run: Run) -> None:
    """Complete what is missing of the stage's files. Raises the typed errors of the sources, NoPosts, TooFewPosts."""
    run.folder.path.mkdir(parents=True, exist_ok=True)
    if not run.folder.is_collected:
        asyncio.run(_pull(run))
    if not run.folder.is_cleaned:
        _clean(run)


def look(run: Run) -> None:
    """Only see who the accounts are, and leave that as `profiles.json`: for a proof of ownership."""

    async def look_at_all() -> list[Profile]:
        async with AsyncExitStack() as stack:
            sources = _Sources(run, stack)
            return [await (await sources.open(n)).profile(a.handle) for n, a in enumerate(sources.spec.accounts)]

    write_json(run.folder.profiles_file, asyncio.run(look_at_all()))


class _Sources:
    """The sources of a job's accounts; the web is opened for the first one that needs it."""

    def __init__(self, run: Run, stack: AsyncExitStack) -> None:
        self.spec = run.folder.read_spec()
        self._run = run
        self._stack = stack
        self._web: Web | None = None

    async def open(self, number: int) -> Source:
        """The source of the account of that number."""
        run, account = self._run, self.spec.accounts[number]

        async def reach() -> Access:
            if self._web is None:
                from trainer.sources.web import open_web  # aiohttp, a tenth of a second

                self._web = await self._stack.enter_async_context(open_web(check=run.wait, notice=run.notice))
            pages = Pages(run.folder.pages / str(number))
            return Access(web=self._web, pages=pages, settings=self.spec.sources)

        return await open_source(account.source, [run.folder.inputs / name for name in account.inputs], reach)


class _Raw:
    """The raw file while it is written: what comes from several sources of one account is one account's, each once."""

    def __init__(self, run: Run, write: Callable[[int, Post], None]) -> None:
        self.profiles: list[Profile] = []
        self.total = 0
        self.expected = 0  # posts, as far as platforms have told
        self._run = run
        self._write = write
        self._ids: list[set[str]] = []
        self._characters: list[int] = []

    def place(self, profile: Profile) -> int:
        """The number of the profile's account."""
        for number, other in enumerate(self.profiles):
            if same_handle(other.handle, profile.handle):
                return number
        self.profiles.append(profile)
        self._ids.append(set())
        self._characters.append(0)
        return len(self.profiles) - 1

    def add(self, place: int, post: Post) -> None:
        """Write the post, if it is not there; Unreadable if that makes more text than a person writes."""
        if post.id in self._ids[place]:
            return
        self._ids[place].add(post.id)
        self._characters[place] += len(post.text)
        if self._characters[place] > MAX_CHARACTERS:
            name = f"the posts of @{self.profiles[place].handle}"
            raise Unreadable(name, f"there are more than {MAX_CHARACTERS:,} characters.")
        self._write(place, post)
        self.total += 1
        self._run.progress("collect", self.total, self.expected if self.expected > self.total else None)


async def _pull(run: Run) -> None:
    """Every account's posts to the raw file, and who they are beside it."""
    run.progress("collect", 0)
    async with AsyncExitStack() as stack:
        sources = _Sources(run, stack)
        with run.folder.raw_writer() as write:
            raw = _Raw(run, write)
            for number, account in enumerate(sources.spec.accounts):
                source = await sources.open(number)
                profile = await source.profile(account.handle)
                _require_willing(profile, account)
                place = raw.place(msgspec.structs.replace(profile, source=account.source))
                held = _held(run, account)
                if profile.posts and not held:
                    raw.expected = raw.total + min(profile.posts, sources.spec.sources.max_posts)
                newest = max(held, key=_written_at, default=None)
                async for post in source.posts(profile.handle, newest.id if newest else None):
                    raw.add(place, post)
                for post in held:
                    raw.add(place, post)
    write_json(run.folder.profiles_file, raw.profiles)
    _note(run, "collect", run.folder.raw_file)
    run.progress("collect", raw.total, raw.total)


def _require_willing(profile: Profile, account: AccountSource) -> None:
    """OptedOut if the account says no, unless whoever asks has proved that it is their own."""
    if profile.opted_out is not None and not account.is_proven:
        raise OptedOut(profile.handle, where=account.source, reason=profile.opted_out)


def _held(run: Run, account: AccountSource) -> list[Post]:
    return [post for _, post in read_raw(run.folder.inputs / account.held)] if account.held else []


def _written_at(post: Post) -> float:
    return post.created_at.timestamp() if post.created_at else 0.0


def _clean(run: Run) -> None:
    profiles = read_json(run.folder.profiles_file, list[Profile])
    run.progress("clean", 0, len(profiles))
    rows: list[DatasetRow] = []
    counts: list[Counts] = []
    for number, profile in enumerate(profiles):
        kept, count = clean_account(_raw_posts(run, number), profile)
        rows += kept
        counts.append(msgspec.structs.replace(count, source=profile.source))
        run.notice(where_posts_went(count))
        run.progress("clean", number + 1, len(profiles))
    stats = Stats(accounts=tuple(counts), warnings=tuple(_judge(counts)))
    run.folder.write_dataset(iter(rows))
    _note(run, "clean", run.folder.dataset_file)
    write_json(run.folder.stats_file, stats)
    for warning in stats.warnings:
        run.notice(warning)


def _raw_posts(run: Run, account: int) -> Iterator[Post]:
    """The account's posts as collected; a cancel is heard while they are read."""
    for number, post in run.folder.read_raw():
        run.check()
        if number == account:
            yield post


def _note(run: Run, stage: str, file: Path) -> None:
    """Enter a file into the lineage."""
    code = {"mockingbird": version("mockingbird"), "cleaning": CLEANING, "python": platform.python_version()}
    run.folder.add_lineage(stage, file, {**code, **{name: version(name) for name in LIBRARIES}})


def _judge(counts: Sequence[Counts]) -> Iterator[str]:
    """Warnings for the person who asked; TooFewPosts under huggingtweets' floor."""
    characters = sum(c.characters for c in counts)
    if characters < MIN_CHARACTERS:
        raise TooFewPosts([c.handle for c in counts], characters=characters, needed=MIN_CHARACTERS)
    if characters < FEW_CHARACTERS:
        yield (
            f"There is little text to learn from ({characters:,} characters; {FEW_CHARACTERS:,} or more are better): "
            "expect a rough likeness, and posts that are close to real ones."
        )
