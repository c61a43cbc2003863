"""Each source from `/train` to `/say` on a stand-in web; three platforms at once with the real trainer and engine."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.config import Config
from bot.datadir import DataDir
from bot.records import CONSOLE, JobState, ModelVersion
from bot.service import Service, open_service
from models.engine.loading import load_tokenizer
from models.files import RunFolder, verify
from models.records import Counts, Manifest
from models.text import DEFAULT_FORMAT
from tests.bot.platforms import HANDLES, TOOTS, Platforms, begin, fetching
from tests.bot.quick import serving
from tests.conftest import made_up_posts
from tests.fakes import archives, mastodon_archive
from tests.fakes.children.orders import Orders
from tests.fakes.internet import FakeInternet
from tests.fakes.tables import delimited
from tests.fakes.x_api import FakePost, FakeX
from trainer.dataset import balance, encode, split

POSTS = 120  # a little more than 6,000 characters
PATIENCE_S = 120.0  # for a training, which takes a few seconds on an idle machine


@pytest.fixture
def platforms(net: FakeInternet, x: FakeX) -> Platforms:
    return Platforms.on(net, x)


def texts(count: int = POSTS) -> list[str]:
    return [post["text"] for post in made_up_posts(count)]


async def trained(service: Service, *handles: str, files: tuple[Path, ...] = ()) -> tuple[ModelVersion, Manifest]:
    """The model that comes of it and has spoken, and its manifest."""
    job = await begin(service, *handles, files=files)
    async with asyncio.timeout(PATIENCE_S):
        ended = [view async for view in service.watch(job.id)][-1].job
    assert (ended.state, ended.error) == (JobState.DONE, None)
    model = service.library.find(CONSOLE, ended.model)
    assert model.job_id == ended.id
    manifest = await asyncio.to_thread(verify, service.data.models / model.folder)
    answer = await service.say(CONSOLE, model=model, prompt="the kettle", seed=1)
    assert answer.texts[0].startswith("the kettle")
    return model, manifest


def row(counts: Counts) -> tuple[str, str, str | None, int, int, int, int]:
    made = (counts.downloaded, counts.retweets, counts.short, counts.learned)
    return (counts.handle, counts.name, counts.source, *made)


def of_x_api(platforms: Platforms, folder: Path) -> tuple[Path, ...]:
    platforms.post("x", POSTS)
    retweet = FakePost(text="RT @nasa: The Moon is near.", retweet_of=7)
    platforms.x.add_posts("finch", [retweet, "ok", FakePost(text="The m…", note=f"The moon {'and so ' * 60}on.")])
    return ()


def of_bluesky(platforms: Platforms, folder: Path) -> tuple[Path, ...]:
    platforms.post("bluesky", POSTS)
    platforms.bluesky.accounts[0].post("ok", 1_000)
    return ()


def of_mastodon(platforms: Platforms, folder: Path) -> tuple[Path, ...]:
    platforms.post("mastodon", POSTS)
    account = platforms.toots.accounts["finch"]
    boosted = {"url": "https://other.test/@jay/1", "uri": "https://other.test/users/jay/statuses/1"}
    platforms.toots.post(account, "", reblog=boosted)
    platforms.toots.post(account, "<p>Among friends, three words</p>", visibility="unlisted")
    return ()


def of_mastodon_export(platforms: Platforms, folder: Path) -> tuple[Path, ...]:
    notes = [mastodon_archive.create(number, f"<p>{text}</p>") for number, text in enumerate(texts())]
    private = mastodon_archive.create(900, "<p>For you alone, my friend</p>", to=(), cc=())
    boost = mastodon_archive.announce(901, "https://other.test/users/jay/statuses/1")
    members = {
        "archive/outbox.json": mastodon_archive.outbox(*notes, private, boost),
        "archive/actor.json": json.dumps(mastodon_archive.actor()),
    }
    return (archives.write_zip(folder / "archive-20241121.zip", members),)


def of_x_archive(platforms: Platforms, folder: Path) -> tuple[Path, ...]:
    tweets = [archives.tweet(number, text) for number, text in enumerate(texts())]
    long = f"A post of more than two hundred and eighty characters {'goes on and on and ' * 20}ends."
    tweets += [archives.tweet(800, "RT @jay: Louder today"), archives.tweet(801, f"{long[:270]}…")]
    notes = [archives.note(801, long)]
    return (archives.archive_2022(folder / "twitter.zip", tweets, notes, name="Jenny Wren"),)


def of_grailbird(platforms: Platforms, folder: Path) -> tuple[Path, ...]:
    items = [archives.grailbird_item(number, text) for number, text in enumerate(texts())]
    months = {"2015_01": items[:60], "2015_02": items[60:]}
    return (archives.archive_2012(folder / "grailbird.zip", months),)


def of_csv(platforms: Platforms, folder: Path) -> tuple[Path, ...]:
    rows = [
        {"Datetime": "2022-10-05 19:00:46+00:00", "Tweet Id": str(number), "Text": text, "Username": "wren"}
        for number, text in enumerate(texts())
    ]
    path = folder / "frame.csv"
    path.write_bytes(delimited(rows, ("Datetime", "Tweet Id", "Text", "Username"), delimiter=";"))
    return (path,)


Make = Callable[[Platforms, Path], tuple[Path, ...]]
Row = tuple[str, str, str, int, int, int, int]
# What is asked for, how the platform or the file comes to be, and the row that the card gets.
SOURCES: dict[str, tuple[str, Make, Row]] = {
    "x_api": ("@finch", of_x_api, ("finch", "Finch", "x_api", POSTS + 3, 1, 1, POSTS + 1)),
    "bluesky": (
        "finch.bsky.social",
        of_bluesky,
        ("finch.bsky.social", "Finch", "bluesky", POSTS + 1, 0, 1, POSTS),
    ),
    "mastodon": (f"@finch@{TOOTS}", of_mastodon, (f"finch@{TOOTS}", "Finch", "mastodon", POSTS + 1, 1, 0, POSTS)),
    "mastodon_export": (
        "",
        of_mastodon_export,
        (f"robin@{TOOTS}", "Robin Redbreast", "archive", POSTS + 1, 1, 0, POSTS),
    ),
    "x_archive": ("", of_x_archive, ("wren", "Jenny Wren", "archive", POSTS + 2, 1, 0, POSTS + 1)),
    "grailbird": ("@wren", of_grailbird, ("wren", "Jenny", "archive", POSTS, 0, 0, POSTS)),
    "csv": ("", of_csv, ("wren", "wren", "table", POSTS, 0, 0, POSTS)),
}


PLATFORMS, FILES = ("x_api", "bluesky", "mastodon"), ("mastodon_export", "x_archive", "grailbird", "csv")


@pytest.mark.parametrize("names", [PLATFORMS, FILES], ids=["platforms", "files"])
async def test_what_each_source_gives_becomes_a_model_that_speaks(
    quick: Config, orders: Orders, platforms: Platforms, tmp_path: Path, names: tuple[str, ...]
) -> None:
    async with serving(fetching(quick), orders) as service:
        for handle, make, expected in map(SOURCES.__getitem__, names):
            model, manifest = await trained(service, *filter(None, [handle]), files=make(platforms, tmp_path))
            assert (model.name, model.handles) == (expected[0], (expected[0],))
            assert [row(counts) for counts in manifest.accounts] == [expected]
            assert manifest.metrics.posts + manifest.metrics.held_out_posts == expected[-1]
            assert manifest.accounts[0].languages[0] == "en"
            (consent,) = await service.registry.consents(job_id=model.job_id)
            assert (consent.handle, consent.source, consent.ground) == (expected[0], expected[2], "public_figure")


async def test_three_platforms_make_one_model_in_which_each_account_weighs_the_same(
    config: Config, platforms: Platforms
) -> None:
    sizes = {"x": 90, "bluesky": 60, "mastodon": 30}
    for platform, count in sizes.items():
        platforms.post(platform, count)
    async with open_service(fetching(config), DataDir(config.data_dir), "test") as service:
        plan = await service.plan(CONSOLE, handles=list(HANDLES.values()), ground="public_figure")
        assert plan.usd == pytest.approx(0.01 + 3200 * 0.005)  # only X takes money
        model, manifest = await trained(service, *HANDLES.values())
        folder = RunFolder(service.data.runs / str(model.job_id))
        rows = folder.read_dataset()
        card = (service.data.models / model.folder / "README.md").read_text(encoding="utf-8")
        consents = await service.registry.consents(job_id=model.job_id)
    names = ("finch", "finch.bsky.social", f"finch@{TOOTS}")
    assert model.name == "-".join(names)
    assert model.handles == names
    assert [row(counts) for counts in manifest.accounts] == [
        (name, "Finch", source, count, 0, 0, count)
        for name, source, count in zip(names, ("x_api", "bluesky", "mastodon"), sizes.values(), strict=True)
    ]
    assert "# Finch & Finch & Finch\n\n**AI CYBORG**" in card
    assert "| Posts kept | 90 | 60 | 30 |" in card
    assert [(consent.handle, consent.source) for consent in consents] == [
        (counts.handle, counts.source) for counts in manifest.accounts
    ]
    assert (platforms.x.billed_posts, platforms.x.billed_users) == (90, 1)
    # As many tokens as if each account had as many posts as the largest has: rows come again, and none is left out.
    training, _ = split(rows, fraction=config.training.held_out_fraction, seed=config.training.seed)
    own = Counter(row.handle for row in training)
    weighed = Counter(row.handle for row in balance(training))
    assert set(weighed.values()) == {max(own.values())}
    assert len(set(own.values())) == 3
    tokenizer = load_tokenizer(config.training.base)
    examples = encode(balance(training), tokenizer, DEFAULT_FORMAT, max_tokens=config.training.max_post_tokens)
    assert manifest.metrics.tokens == sum(example.label_tokens for example in examples)
