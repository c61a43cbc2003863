"""The collect stage: sources to `raw.jsonl.zst`, and cleaning to `dataset.jsonl` and `stats.json`.

It runs in a child of its own because it parses files from strangers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from models.errors import TooFewPosts
from models.files import read_json, write_json
from models.records import AccountSource, Counts, DatasetRow, Post, Profile, Stats
from trainer.clean import clean_account
from trainer.run import Run
from trainer.sources import open_source

MIN_CHARACTERS = 6_000  # huggingtweets refuses under this
FEW_CHARACTERS = 40_000  # and warns under this


def collect(run: Run) -> None:
    """Complete what is missing of the stage's files. Raises the typed errors of the sources, NoPosts, TooFewPosts."""
    run.folder.path.mkdir(parents=True, exist_ok=True)
    if not run.folder.is_collected:
        _pull(run)
    if not run.folder.is_cleaned:
        _clean(run)


def _pull(run: Run) -> None:
    accounts = run.folder.read_spec().accounts
    posts: list[tuple[int, Post]] = []
    profiles: list[Profile] = []

    async def pull(number: int, account: AccountSource) -> None:
        source = open_source(account.source, [run.folder.inputs / name for name in account.inputs])
        profile = await source.profile(account.handle)
        profiles.append(profile)
        async for post in source.posts(profile.handle):
            posts.append((number, post))
            run.progress("collect", len(posts))

    async def pull_all() -> None:
        for number, account in enumerate(accounts):
            await pull(number, account)

    run.progress("collect", 0)
    asyncio.run(pull_all())
    run.folder.write_raw(iter(posts))
    write_json(run.folder.profiles_file, profiles)
    run.progress("collect", len(posts), len(posts))


def _clean(run: Run) -> None:
    profiles = read_json(run.folder.profiles_file, list[Profile])
    posts: list[list[Post]] = [[] for _ in profiles]
    for number, post in run.folder.read_raw():
        posts[number].append(post)
    run.progress("clean", 0, len(profiles))
    rows: list[DatasetRow] = []
    counts: list[Counts] = []
    for number, profile in enumerate(profiles):
        kept, count = clean_account(posts[number], profile)
        rows += kept
        counts.append(count)
        run.progress("clean", number + 1, len(profiles))
    stats = Stats(accounts=tuple(counts), warnings=tuple(_judge(counts)))
    run.folder.write_dataset(iter(rows))
    write_json(run.folder.stats_file, stats)
    for warning in stats.warnings:
        run.notice(warning)


def _judge(counts: list[Counts]) -> Iterator[str]:
    """Warnings for the person who asked; TooFewPosts under huggingtweets' floor."""
    characters = sum(c.characters for c in counts)
    if characters < MIN_CHARACTERS:
        raise TooFewPosts([c.handle for c in counts], characters=characters, needed=MIN_CHARACTERS)
    if characters < FEW_CHARACTERS:
        yield (
            f"There is little text to learn from ({characters:,} characters; {FEW_CHARACTERS:,} or more are better): "
            "expect a rough likeness, and posts that are close to real ones."
        )
