"""Each source from `/train` to the first `/say`: `python -m benchmarks.sources [POSTS]`.

The same made-up posts (800; about 1 of 5 is too short to be learned) come from the stand-ins for X's API, Bluesky and
a Mastodon server, and from files: an export of Mastodon, X archives of today and of 2012, a CSV. Each trains the
built-in base, for one epoch instead of three to keep it short. Prints, for each, posts downloaded and learned, seconds
until they are collected and cleaned, seconds until the first `/say` is answered, and requests made. One run, nothing
averaged; platforms are on loopback and answer at once.
"""

from __future__ import annotations

import asyncio
import html
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.journey import House, open_house, travel
from tests.fakes import archives, mastodon_archive
from tests.fakes.bluesky import FakeBluesky
from tests.fakes.five_models import add_accounts
from tests.fakes.mastodon import FakeMastodon
from tests.fakes.tables import delimited
from tests.fakes.x_api import FakeX

POSTS = 800
MODEL = "bichebuni"  # whose 1,019 posts that are no retweets are taken
MONTH_POSTS = 100


async def main(count: int) -> None:
    texts = made_up(count)
    print(f"{len(texts)} posts, {len(set(texts))} different")
    async with open_house() as house:
        add_to_platforms(house, texts)
        files = write_files(house.folder, texts)
        ways: dict[str, tuple[list[str], list[Path]]] = {
            "X API": (["@finch"], []),
            "Bluesky": (["finch.bsky.social"], []),
            "Mastodon": (["@finch@toots.test"], []),
            **{name: ([], [path]) for name, path in files.items()},
        }
        for name, (handles, paths) in ways.items():
            journey = await travel(house, handles=handles, files=paths)
            (counts,) = journey.accounts
            print(
                f"{name:16} {counts.downloaded:5,} posts, {counts.learned:5,} learned, {journey.requests:3} requests; "
                f"{journey.collected_s:5.1f} s to collect and clean, {journey.said_s:6.1f} s to the first /say"
            )


def made_up(count: int) -> list[str]:
    """So many texts, short ones among them."""
    x = FakeX(token="")
    add_accounts(x, MODEL)
    return [post.text for post in x.users[MODEL].posts if not post.retweet_of][:count]


def add_to_platforms(house: House, texts: Sequence[str]) -> None:
    """@finch with these posts on each platform."""
    house.x.add_user("finch", name="Finch", posts=texts)
    skyer = FakeBluesky(house.net).add("finch.bsky.social")
    toots = FakeMastodon(net=house.net)
    tooter = toots.add_account("finch")
    for number, text in enumerate(texts):
        skyer.post(text, number)
        toots.post(tooter, f"<p>{html.escape(text)}</p>")


def write_files(folder: Path, texts: Sequence[str]) -> dict[str, Path]:
    """A file of each kind with these posts, by the name of the kind."""
    notes = [mastodon_archive.create(number, f"<p>{html.escape(text)}</p>") for number, text in enumerate(texts)]
    tweets = [archives.tweet(number, html.escape(text, quote=False)) for number, text in enumerate(texts)]
    items = [archives.grailbird_item(number, html.escape(text, quote=False)) for number, text in enumerate(texts)]
    starts = range(0, len(items), MONTH_POSTS)
    months = {f"{2010 + n // 12}_{n % 12 + 1:02}": items[start : start + MONTH_POSTS] for n, start in enumerate(starts)}
    table = folder / "posts.csv"
    rows = [{"id": str(number), "text": text, "username": "finch"} for number, text in enumerate(texts)]
    table.write_bytes(delimited(rows, ("id", "text", "username")))
    export = {"outbox.json": mastodon_archive.outbox(*notes), "actor.json": json.dumps(mastodon_archive.actor())}
    return {
        "Mastodon export": archives.write_zip(folder / "export.zip", export),
        "X archive": archives.archive_2022(folder / "twitter.zip", tweets),
        "X archive, 2012": archives.archive_2012(folder / "grailbird.zip", months),
        "CSV": table,
    }


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else POSTS))
