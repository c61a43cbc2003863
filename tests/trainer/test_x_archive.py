"""The X archive source: every layout since 2018, long posts, and files that are broken or hostile."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.errors import Unreadable
from models.records import Post
from tests.fakes import archives
from tests.fakes.archives import note, script, tweet
from trainer.clean import clean_text
from trainer.sources import open_source, x_archive
from trainer.sources.x_archive import XArchive

TWEETS = [tweet(n, f"a wren sings in the hedge, verse {n}") for n in range(4)]
TEXTS = [t["full_text"] for t in TWEETS]
LONG = "The wren is a small brown bird & it sings < louder than most, from every hedge that it owns. " * 5


async def read(*inputs: Path, handle: str = "wren", since: datetime | None = None) -> list[Post]:
    return [post async for post in XArchive(inputs).posts(handle, since)]


async def complaint(*inputs: Path, handle: str | None = "wren") -> str:
    with pytest.raises(Unreadable) as caught:
        source = XArchive(inputs)
        profile = await source.profile(handle)
        async for _ in source.posts(profile.handle):
            pass
    return str(caught.value)


def bare(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("write", [archives.archive_2018, archives.archive_2019, archives.archive_2022])
async def test_every_layout_since_2018_is_read(tmp_path: Path, write) -> None:
    assert [p.text for p in await read(write(tmp_path / "archive.zip", TWEETS))] == TEXTS


async def test_a_top_folder_of_a_rezip_does_not_matter(tmp_path: Path) -> None:
    path = archives.archive_2022(tmp_path / "a.zip", TWEETS, top="twitter-2024-05-01/")
    assert [p.text for p in await read(path)] == TEXTS


async def test_deleted_and_restricted_posts_and_private_files_are_never_opened(tmp_path: Path, monkeypatch) -> None:
    opened = []
    real_open = zipfile.ZipFile.open
    monkeypatch.setattr(
        zipfile.ZipFile,
        "open",
        lambda self, info, *a, **k: opened.append(info.filename) or real_open(self, info, *a, **k),
    )
    path = archives.archive_2022(tmp_path / "a.zip", TWEETS)
    opened.clear()
    assert len(await read(path)) == len(TWEETS)
    assert set(opened) <= {"data/tweets.js", "data/note-tweet.js", "data/account.js", "data/manifest.js"}


async def test_parts_are_one_archive_and_each_post_comes_once(tmp_path: Path) -> None:
    one = archives.archive_2022(tmp_path / "1.zip", TWEETS[:3])
    two = archives.archive_2022(tmp_path / "2.zip", TWEETS[2:])
    assert [p.text for p in await read(one, two)] == TEXTS


async def test_bare_files_are_enough(tmp_path: Path) -> None:
    long = tweet(9, LONG[:270].replace("&", "&amp;").replace("<", "&lt;") + "… https://t.co/abcdefghij")
    files = [
        bare(
            tmp_path / "my old tweets (1).js",
            "\ufeff" + script("tweets", [{"tweet": t} for t in [*TWEETS, long]]) + ";\n",
        ),
        bare(tmp_path / "note-tweet.js", script("note_tweet", [note(9, LONG)])),
        bare(tmp_path / "account.js", archives.account("wren", "Jenny Wren")),
    ]
    assert (await XArchive(files).profile(None)).name == "Jenny Wren"
    posts = await read(*files)
    assert [p.text for p in posts[:-1]] == TEXTS
    assert clean_text(posts[-1]) == LONG.strip()


async def test_a_note_replaces_the_text_of_its_tweet_and_needs_the_prefix_as_well_as_the_second(tmp_path: Path) -> None:
    other = "Nothing at all to do with birds, " * 12
    first = tweet(
        1,
        "@jay " + LONG[:150].replace("&", "&amp;").replace("<", "&lt;") + "… https://t.co/abcdefghij",
        entities={"urls": [{"url": "https://t.co/abcdefghij"}]},
    )
    second = tweet(1, other[:200] + "…") | {"id_str": "2000"}
    path = archives.archive_2022(
        tmp_path / "a.zip", [first, second], [note(1, other), note(1, LONG, links=["https://t.co/n"], note_id="2")]
    )
    posts = await read(path)
    assert [p.id for p in posts] == ["1001", "2000"]
    assert clean_text(posts[0]) == LONG.strip()
    assert clean_text(posts[1]) == other.strip()
    assert posts[0].links == ("https://t.co/abcdefghij", "https://t.co/n")


async def test_a_note_without_a_tweet_is_a_post_of_its_own(tmp_path: Path) -> None:
    posts = await read(archives.archive_2022(tmp_path / "a.zip", TWEETS, [note(50, LONG)]))
    assert len(posts) == 5
    assert (posts[-1].id, clean_text(posts[-1])) == ("9050", LONG.strip())


async def test_notes_are_escaped_so_that_cleaning_can_unescape_every_post(tmp_path: Path) -> None:
    literal = "In HTML you write &amp; for an ampersand"
    posts = await read(archives.archive_2022(tmp_path / "a.zip", TWEETS, [note(50, literal)]))
    assert clean_text(posts[-1]) == literal


async def test_retweets_are_known_by_their_prefix(tmp_path: Path) -> None:
    tweets = [tweet(1, "RT @jay: hear hear"), tweet(2, "I RT @jay a lot", retweeted=True)]
    assert [p.is_retweet for p in await read(archives.archive_2022(tmp_path / "a.zip", tweets))] == [True, False]


async def test_facts_of_a_post_are_taken_over(tmp_path: Path) -> None:
    item = tweet(
        1,
        "@jay look https://t.co/a https://t.co/m",
        in_reply_to_status_id=77,
        in_reply_to_screen_name="jay",
        entities={"urls": [{"url": "https://t.co/a"}], "media": [{"url": "https://t.co/m"}]},
        extended_entities={"media": [{"url": "https://t.co/m"}, {"url": "https://t.co/n"}, {"url": None}, 5]},
    ) | {"id_str": None, "id": 1001}
    (post,) = await read(archives.archive_2022(tmp_path / "a.zip", [item]))
    assert (post.id, post.reply_to_id, post.reply_to_handle, post.lang) == ("1001", "77", "jay", "en")
    assert post.links == ("https://t.co/a", "https://t.co/m", "https://t.co/n")
    assert post.created_at == datetime(2022, 10, 5, 19, 1, 46, tzinfo=UTC)


async def test_bad_dates_become_none_and_only_posts_after_since_come(tmp_path: Path) -> None:
    tweets = [*TWEETS, tweet(5, "when was that?", created_at="Someday"), tweet(6, "never", created_at=None)]
    path = archives.archive_2022(tmp_path / "a.zip", tweets)
    posts = await read(path, since=archives.START + timedelta(minutes=2))
    assert [p.text for p in posts] == [TEXTS[3], "when was that?", "never"]
    assert [p.created_at for p in posts[1:]] == [None, None]


async def test_entries_that_are_no_posts_are_passed_over(tmp_path: Path) -> None:
    path = bare(
        tmp_path / "tweets.js", script("tweets", [1, None, [], {}, {"tweet": 5}, {"tweet": {"id": "1"}}, TWEETS[0]])
    )
    assert [p.text for p in await read(path)] == TEXTS[:1]


async def test_half_a_surrogate_pair_is_dropped(tmp_path: Path) -> None:
    path = bare(
        tmp_path / "tweets.js", 'window.YTD.tweets.part0 = [{"id": "1", "full_text": "a \\ud83d\\ude00 b \\ud83d c"}]'
    )
    assert [p.text for p in await read(path)] == ["a 😀 b  c"]


async def test_the_archive_tells_whose_it_is(tmp_path: Path) -> None:
    path = archives.archive_2022(tmp_path / "a.zip", TWEETS, handle="Wren", name="Jenny Wren")
    for asked, handle in ((None, "Wren"), ("@wREN", "wREN")):
        profile = await XArchive([path]).profile(asked)
        assert (profile.handle, profile.name) == (handle, "Jenny Wren")


async def test_the_manifest_tells_where_account_js_is_missing(tmp_path: Path) -> None:
    members = {"data/tweets.js": script("tweets", TWEETS), "data/manifest.js": archives.manifest("wren", "Jenny")}
    profile = await XArchive([archives.write_zip(tmp_path / "a.zip", members)]).profile(None)
    assert (profile.handle, profile.name) == ("wren", "Jenny")


async def test_without_an_owner_the_handle_has_to_be_named(tmp_path: Path) -> None:
    path = archives.archive_2018(tmp_path / "a.zip", TWEETS)
    assert "Name the handle" in await complaint(path, handle=None)
    assert (await XArchive([path]).profile("@wren")).name == "wren"


async def test_someone_elses_archive_is_refused_by_name(tmp_path: Path) -> None:
    path = archives.archive_2022(tmp_path / "a.zip", TWEETS, handle="jay")
    assert "archive of @jay, not of @wren" in await complaint(path)


async def test_archives_of_two_accounts_are_refused(tmp_path: Path) -> None:
    paths = [archives.archive_2022(tmp_path / f"{h}.zip", TWEETS, handle=h) for h in ("wren", "jay")]
    assert "several accounts" in await complaint(*paths)


GOOD = script("tweets", TWEETS)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.zip", b"no zip at all", "not a ZIP"),
        ("a.zip", b"", "not a ZIP"),
        ("tweets.js", b"", "empty"),
        ("tweets.js", b" \n ", "empty"),
        ("tweets.js", GOOD[: len(GOOD) // 2].encode(), "cut off or damaged after"),
        ("tweets.js", b"window.YTD.tweets.part0 = [ {]", "cut off or damaged after 0"),
        ("tweets.js", b'window.YTD.tweets.part0 = [{"id": ' + b"1" * 6000 + b"}]", "damaged"),
        ("tweets.js", b"window.YTD.tweets.part0 = " + b"[" * 100_000, "nested deeper"),
        ("tweets.js", b'window.YTD.tweets.part0 = [{"full_text": "' + b"x" * 3_000_000, "cut off or damaged"),
        ("tweets.js", GOOD.encode("utf-16"), "not UTF-8"),
        ("tweets.js", GOOD.replace("wren", "Zaunkönig").encode("latin-1"), "not UTF-8"),
        ("tweets.js", b"<html>Sign in to X</html>", "does not look like"),
        ("tweets.js", script("tweets", [{"like": {"tweetId": "1"}}]).encode(), "none of its 1 entries is a post"),
        ("like.js", script("like", [{"like": {"fullText": "x"}}]).encode(), "no tweets in it"),
        ("deleted-tweets.js", script("deleted_tweets", TWEETS).encode(), "no tweets in it"),
    ],
)
async def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    sentence = await complaint(bare(tmp_path / name, data))
    assert said in sentence
    assert name in sentence


async def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    assert "can't be opened" in await complaint(tmp_path / "gone.zip")


async def test_a_zip_cut_in_half_is_refused(tmp_path: Path) -> None:
    path = archives.archive_2022(tmp_path / "a.zip", TWEETS)
    assert "not a whole one" in await complaint(bare(path, path.read_bytes()[:400]))


async def test_flipped_bytes_in_a_member_are_damage(tmp_path: Path) -> None:
    path = archives.archive_2018(tmp_path / "a.zip", TWEETS)
    data = bytearray(path.read_bytes())
    data[60:80] = b"\xff" * 20
    assert "damaged" in await complaint(bare(path, bytes(data)))


async def test_a_zip_without_tweets_is_refused(tmp_path: Path) -> None:
    members = {
        "data/deleted-tweets.js": GOOD,
        "holiday/tweets.json": "[]",
        "data/account.js": archives.account("wren", "W"),
    }
    assert "Is this an X archive?" in await complaint(archives.write_zip(tmp_path / "a.zip", members))


async def test_an_archive_from_before_2018_is_named_as_one(tmp_path: Path) -> None:
    assert "before 2018" in await complaint(archives.write_zip(tmp_path / "a.zip", {"data/js/tweets/2015_01.js": "x"}))


async def test_a_locked_zip_is_refused(tmp_path: Path) -> None:
    assert "password" in await complaint(archives.lock(archives.archive_2022(tmp_path / "a.zip", TWEETS)))


async def test_a_zip_bomb_is_refused_from_its_directory(tmp_path: Path) -> None:
    assert "zip bomb" in await complaint(archives.bomb(tmp_path / "a.zip", megabytes=60))


async def test_a_member_larger_than_its_directory_admits_is_stopped_while_reading(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(x_archive, "MAX_OWNER_BYTES", 100)
    monkeypatch.setattr(x_archive, "CHUNK_BYTES", 64)
    assert "zip bomb" in await complaint(archives.archive_2022(tmp_path / "a.zip", TWEETS))


async def test_too_many_members_are_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(x_archive, "MAX_MEMBERS", 3)
    assert "more than 3 files" in await complaint(archives.archive_2022(tmp_path / "a.zip", TWEETS))


async def test_entries_may_lie_across_chunks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(x_archive, "CHUNK_BYTES", 97)
    tweets = [tweet(n, f"Zaunkönig 鳥 😀 {n}") for n in range(30)]
    posts = await read(archives.archive_2022(tmp_path / "a.zip", tweets, handle="wren"))
    assert [p.text for p in posts] == [t["full_text"] for t in tweets]


async def test_memory_stays_bounded_and_the_loop_gets_its_turns(tmp_path: Path) -> None:
    entry = json.dumps({"tweet": tweet(0, "x" * 200, filler="y" * 1500)}).replace('"1000"', '"%d"')
    path = bare(
        tmp_path / "tweets.js", "window.YTD.tweets.part0 = [" + ",".join(entry % (n, n) for n in range(6_000)) + "]"
    )
    assert path.stat().st_size > 11_000_000
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counter = asyncio.create_task(count_turns())
    tracemalloc.start()
    try:
        seen = 0
        async for _ in XArchive([path]).posts("wren"):
            seen += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        counter.cancel()
    assert seen == 6_000
    assert peak < 4_000_000
    assert turns >= 6_000 // x_archive.PAUSE_EVERY - 1  # the first turn only starts the counter


def test_an_unknown_source_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Unreadable, match="jsonl, x_archive"):
        open_source("myspace", [])
