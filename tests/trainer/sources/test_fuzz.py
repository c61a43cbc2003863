"""Hostile inputs of a fixed seed, and what fuzzing found: strangers' words in errors, names and ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.fuzz import flaw_of, fuzzed_jobs, run_job, try_input
from benchmarks.fuzzing.inputs import Fuzzer
from models.errors import Unreadable
from models.records import Post, Profile
from tests.fakes import archives, mastodon_archive
from tests.fakes.archives import note, script, tweet
from trainer.sources import mastodon_archive as export
from trainer.sources.fields import post_from
from trainer.sources.mastodon_archive import MastodonArchive
from trainer.sources.table import Table
from trainer.sources.x_archive import XArchive

SEED = 20261121
INPUTS = 150
HOSTILE = "a\x1b[31m\r\n\u202eb"
LONG = "9" * 5000


async def profile_of(source: XArchive | Table | MastodonArchive, handle: str | None = None) -> Profile:
    return await source.profile(handle)


async def posts_of(source: XArchive | Table | MastodonArchive, handle: str) -> list[Post]:
    return [post async for post in source.posts(handle)]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that fuzzing sets goes again."""
    monkeypatch.setenv("X_BEARER_TOKEN", "")


def test_every_valid_job_that_inputs_are_made_of_is_learned(tmp_path: Path) -> None:
    for job in fuzzed_jobs():
        assert run_job(job, tmp_path, None).kept > 0


def test_hostile_inputs_end_in_posts_or_in_a_clean_sentence(tmp_path: Path) -> None:
    fuzzer = Fuzzer(fuzzed_jobs(), SEED)
    outcomes = [try_input(fuzzer, number, tmp_path) for number in range(INPUTS)]
    assert [outcome.crash for outcome in outcomes if outcome.crash] == []
    assert {"posts", "Unreadable", "SourceDown", "NoPosts"} <= {outcome.kind for outcome in outcomes}


def test_an_input_is_the_same_each_time() -> None:
    jobs = fuzzed_jobs()
    assert [Fuzzer(jobs, 7).job(n) for n in range(20)] == [Fuzzer(fuzzed_jobs(), 7).job(n) for n in range(20)]


async def test_an_error_names_a_member_without_its_control_characters(tmp_path: Path) -> None:
    path = archives.write_zip(tmp_path / "a.zip", {f"{HOSTILE}/data/tweets.js": "window.YTD.tweets.part0 = [cut off"})
    with pytest.raises(Unreadable, match="damaged") as caught:
        await posts_of(XArchive([path]), "wren")
    assert flaw_of(str(caught.value), tmp_path) == ""


@pytest.mark.parametrize("name", ["posts.csv", "posts.json"])
async def test_an_error_shows_columns_without_control_characters_and_not_at_length(tmp_path: Path, name: str) -> None:
    columns = [HOSTILE, *(f"{'long' * 20}{number}" for number in range(50))]
    text = ",".join(columns).replace("\r\n", "") + "\n1,2\n"
    if name.endswith(".json"):
        text = json.dumps([{**dict.fromkeys(columns, 1), "\ud800": 1}])
    with pytest.raises(Unreadable, match=r"a \[31m b.* and 4\d more") as caught:
        await profile_of(Table([written(tmp_path, name, text)]), "wren")
    assert flaw_of(str(caught.value), tmp_path) == ""


async def test_an_error_shows_the_beginnings_of_long_handles_only(tmp_path: Path) -> None:
    rows = [{"text": "I sing", "username": f"{number}{'x' * 90}"} for number in range(9)]
    with pytest.raises(Unreadable, match="and 4 more") as caught:
        await profile_of(Table([written(tmp_path, "a.json", json.dumps(rows))]), "y" * 100)
    assert flaw_of(str(caught.value), tmp_path) == ""


@pytest.mark.parametrize(("name", "shown"), [(HOSTILE, "a [31m b"), ("x" * 5000, "x" * 200), ("\x00\u202e", "wren")])
async def test_a_name_is_one_short_line(tmp_path: Path, name: str, shown: str) -> None:
    archive = archives.archive_2019(tmp_path / "a.zip", [tweet(1, "I sing at dawn")], name=name)
    assert (await profile_of(XArchive([archive]))).name == shown
    rows = [{"text": "I sing at dawn", "user": {"username": "wren", "displayname": name}}]
    assert (await profile_of(Table([written(tmp_path, "a.json", json.dumps(rows))]))).name == shown
    members = {
        "actor.json": json.dumps(mastodon_archive.actor(name=name, preferredUsername="wren")),
        "outbox.json": mastodon_archive.outbox(),
    }
    assert (await profile_of(MastodonArchive([archives.write_zip(tmp_path / "b.zip", members)]))).name == shown


async def test_what_is_too_long_for_an_id_or_a_language_is_none(tmp_path: Path) -> None:
    post = post_from(
        {"id": LONG, "text": "I", "lang": LONG, "referenced_tweets": [{"type": "replied_to", "id": LONG}]}, "1"
    )
    assert post == Post(id="1", text="I")
    entry = mastodon_archive.create(1, "<p>I sing</p>", contentMap={LONG: "<p>I sing</p>"})
    entry["object"]["id"] = f"https://toots.test/{LONG}"
    outbox = written(tmp_path, "outbox.json", mastodon_archive.outbox(entry))
    (post,) = await posts_of(MastodonArchive([outbox]), "robin@toots.test")
    assert (post.id, post.lang) == ("outbox.json#1", None)
    path = archives.write_zip(
        tmp_path / "a.zip",
        {
            "data/tweets.js": script("tweets", [tweet(1, "I sing")]),
            "data/note-tweet.js": script("note_tweet", [note(2, "A long one", note_id=LONG)]),
        },
    )
    assert [post.id for post in await posts_of(XArchive([path]), "wren")] == ["1001", "a.zip: data/note-tweet.js#0"]


async def test_an_outbox_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MAX_ENTRIES", 3)
    items = [mastodon_archive.create(number, "<p>I sing</p>") for number in range(4)]
    assert (
        len(
            await posts_of(
                MastodonArchive([written(tmp_path, "outbox.json", mastodon_archive.outbox(*items[:3]))]), "robin"
            )
        )
        == 3
    )
    with pytest.raises(Unreadable, match="more than 3 posts"):
        await posts_of(MastodonArchive([written(tmp_path, "outbox.json", mastodon_archive.outbox(*items))]), "robin")
