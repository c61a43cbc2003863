"""The X archive source: every layout, long posts, and files that are not what they should be."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.errors import Unreadable
from models.records import Post
from tests.fakes import archives
from tests.fakes.archives import grailbird_item, note, script, tweet
from trainer.clean import clean_text
from trainer.sources import members, x_archive, x_notes, x_owner
from trainer.sources.base import PAUSE_EVERY
from trainer.sources.x_archive import XArchive

TWEETS = [tweet(n, f"a wren sings in the hedge, verse {n}") for n in range(4)]
TEXTS = [t["full_text"] for t in TWEETS]
LONG = "The wren is a small brown bird & it sings < louder than most, from every hedge that it owns. " * 5


async def read(*inputs: Path, handle: str = "wren", since: str | None = None) -> list[Post]:
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


MONTHS = {
    "2015_02": [grailbird_item(7, "a wren &amp; a jay & a tit", created_at="Fri Feb 13 04:57:58 +0000 2015")],
    "2015_01": [
        grailbird_item(2, "@jay not in this hedge", in_reply_to_status_id=5, in_reply_to_screen_name="jay"),
        grailbird_item(
            1,
            "hear hear http://t.co/abc",
            retweeted_status=grailbird_item(900, "hear hear", user={"screen_name": "jay"}),
        ),
        grailbird_item(0, "RT @jay: by hand"),
    ],
}


@pytest.mark.parametrize("top", ["", "tweets 2015/"])
async def test_grailbird_is_read_month_by_month(tmp_path: Path, top: str) -> None:
    path = archives.archive_2012(tmp_path / "a.zip", MONTHS, top=top)
    profile = await XArchive([path]).profile(None)
    assert (profile.handle, profile.name, profile.bio) == ("wren", "Jenny", "")
    posts = await read(path)
    assert [(p.id, p.is_retweet) for p in posts] == [("1002", False), ("1001", True), ("1000", True), ("1007", False)]
    assert (posts[0].reply_to_id, posts[0].reply_to_handle) == ("5", "jay")
    assert [p.created_at for p in (posts[0], posts[3])] == [
        datetime(2015, 1, 24, 2, 2, 37, tzinfo=UTC),
        datetime(2015, 2, 13, 4, 57, 58, tzinfo=UTC),
    ]
    assert clean_text(posts[3]) == "a wren & a jay & a tit"


async def test_the_table_of_grailbird_serves_where_its_scripts_are_missing(tmp_path: Path) -> None:
    months = MONTHS | {"2015_03": [grailbird_item(9, 'she said "tweet",\nthen flew https://t.co/abc')]}
    posts = await read(archives.archive_2012(tmp_path / "a.zip", months, scripts=False))
    assert [(p.id, p.is_retweet) for p in posts] == [
        ("1009", False),
        ("1007", False),
        ("1002", False),
        ("1001", True),
        ("1000", True),
    ]
    assert clean_text(posts[0]) == 'she said "tweet",\nthen flew'
    assert (posts[2].reply_to_id, posts[2].created_at) == ("5", datetime(2015, 1, 24, 2, 2, 37, tzinfo=UTC))


async def test_damage_in_the_table_of_grailbird_is_said(tmp_path: Path) -> None:
    table = archives.tweets_csv(MONTHS["2015_01"]).encode()
    path = archives.raw_zip(tmp_path / "a.zip", "tweets.csv", table, size=len(table), crc=1, method=zipfile.ZIP_STORED)
    assert "damaged" in await complaint(path)


async def test_loose_files_of_grailbird_are_enough(tmp_path: Path) -> None:
    january = bare(tmp_path / "2015_01.js", archives.month("2015_01", MONTHS["2015_01"]))
    renamed = bare(tmp_path / "winter (2).js", archives.month("2015_02", MONTHS["2015_02"]))
    assert (await XArchive([january]).profile(None)).name == "Jenny Wren"
    assert "archive of @wren, not of @jay" in await complaint(january, handle="jay")
    assert [p.id for p in await read(january, renamed)] == ["1002", "1001", "1000", "1007"]
    table = bare(tmp_path / "tweets.csv", "\ufeff" + archives.tweets_csv(MONTHS["2015_01"]).replace("\n", "\r\n"))
    assert [p.id for p in await read(table)] == ["1002", "1001", "1000"]
    assert "Name the handle" in await complaint(table, handle=None)
    details = bare(tmp_path / "user_details.js", archives.user_details("wren", "Jenny"))
    assert (await XArchive([table, details]).profile(None)).name == "Jenny"


async def test_an_old_and_a_new_archive_together_give_each_post_once_and_the_new_text_of_it(tmp_path: Path) -> None:
    old = archives.archive_2012(tmp_path / "old.zip", {"2015_01": [grailbird_item(1, "cut to 140…")]})
    new = archives.archive_2022(tmp_path / "new.zip", [tweet(1, "all of it"), tweet(2, "and more")])
    assert [p.text for p in await read(old, new)] == ["all of it", "and more"]


async def test_copies_and_what_a_mac_adds_do_not_matter(tmp_path: Path) -> None:
    packed = {
        "__MACOSX/data/._tweets.js": b"\x00\x05\x16\x07",
        "data/tweets (1).js": script("tweets", TWEETS[2:]),
        "data/tweets.js": script("tweets", TWEETS[:3]),
        "data\\tweets-part1.js": script("tweets", [tweet(9, "packed on Windows")], part=1),
    }
    posts = await read(archives.write_zip(tmp_path / "a.zip", packed))
    assert sorted(p.text for p in posts) == sorted([*TEXTS, "packed on Windows"])


async def test_parts_are_read_in_their_order(tmp_path: Path) -> None:
    packed = {f"data/tweets-part{n}.js": script("tweets", [tweet(n, f"{n}")], part=n) for n in (10, 2, 1)}
    packed["data/tweets.js"] = script("tweets", [tweet(0, "0")])
    assert [p.text for p in await read(archives.write_zip(tmp_path / "a.zip", packed))] == ["0", "1", "2", "10"]


async def test_a_part_with_nothing_but_pictures_is_fine_beside_one_with_tweets(tmp_path: Path) -> None:
    pictures = archives.write_zip(tmp_path / "2.zip", {"data/tweets_media/1-a.jpg": b"jpg"})
    assert [p.text for p in await read(pictures, archives.archive_2022(tmp_path / "1.zip", TWEETS))] == TEXTS


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


async def test_the_text_of_a_note_is_marked_as_not_escaped(tmp_path: Path) -> None:
    literal = "In HTML you write &amp; for an ampersand, and &lt; for a lesser one. " * 5
    cut = literal[:200].replace("&", "&amp;") + "…"
    path = archives.archive_2022(tmp_path / "a.zip", [tweet(1, cut), TWEETS[2]], [note(1, literal), note(50, literal)])
    joined, plain, alone = await read(path)
    assert (joined.text, joined.is_escaped) == (literal.strip(), False)
    assert (alone.text, alone.is_escaped) == (literal.strip(), False)
    assert plain.is_escaped


async def test_notes_join_their_tweets_over_the_parts_of_an_archive(tmp_path: Path) -> None:
    one = archives.write_zip(tmp_path / "1.zip", {"data/note-tweet.js": script("note_tweet", [note(1, LONG)])})
    cut = LONG[:150].replace("&", "&amp;").replace("<", "&lt;")
    two = archives.archive_2022(tmp_path / "2.zip", [tweet(1, cut + "…")])
    assert [p.text for p in await read(one, two)] == [LONG.strip()]


async def test_two_notes_that_begin_alike_in_one_second_go_to_one_tweet_each(tmp_path: Path) -> None:
    notes = [note(1, LONG + ending, note_id=ending) for ending in ("first", "second")]
    tweets = [tweet(1, LONG[:100].replace("&", "&amp;")) | {"id_str": str(n)} for n in range(3)]
    posts = await read(archives.archive_2022(tmp_path / "a.zip", tweets, notes))
    assert [p.text[len(LONG) :] for p in posts] == ["first", "second", ""]


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


async def test_bad_dates_become_none(tmp_path: Path) -> None:
    tweets = [tweet(5, "when was that?", created_at="Someday"), tweet(6, "never", created_at=None)]
    posts = await read(archives.archive_2022(tmp_path / "a.zip", tweets))
    assert [p.created_at for p in posts] == [None, None]


async def test_a_file_gives_all_of_its_posts_whatever_is_held_already(tmp_path: Path) -> None:
    path = archives.archive_2022(tmp_path / "a.zip", TWEETS)
    assert [p.text for p in await read(path, since=TWEETS[2]["id_str"])] == TEXTS


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
        ("tweets.js", b"<html>Sign in to X</html>", "no list of posts"),
        ("tweets.js", script("tweets", [{"like": {"tweetId": "1"}}]).encode(), "none of its 1 entries is a post"),
        ("like.js", script("like", [{"like": {"fullText": "x"}}]).encode(), "no tweets in it"),
        ("deleted-tweets.js", script("deleted_tweets", TWEETS).encode(), "no tweets in it"),
        ("tweets.js", script("deleted_tweets", TWEETS).encode(), "no tweets in it"),
        ("direct-messages.js", json.dumps(TWEETS).encode()[1:], "no tweets in it"),
        ("tweets.csv", b"tweet_id,timestamp\n1,2015-01-24 02:02:37 +0000", "no column"),
        ("tweets.csv", b"tweet_id,text\n" + b"x" * 3_000_000, "longer than"),
        ("tweets.csv", b"tweet_id,text\n" + b'"a\n",' * 600_000, "longer than"),
    ],
)
async def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    sentence = await complaint(bare(tmp_path / name, data))
    assert said in sentence
    assert name in sentence


async def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    assert "can't be opened" in await complaint(tmp_path / "gone.zip")


async def test_a_zip_without_tweets_is_refused(tmp_path: Path) -> None:
    members = {
        "data/deleted-tweets.js": GOOD,
        "holiday/tweets.json": "[]",
        "data/account.js": archives.account("wren", "W"),
    }
    assert "Is this an X archive?" in await complaint(archives.write_zip(tmp_path / "a.zip", members))


async def test_a_file_of_the_owner_larger_than_any_is_stopped_while_reading(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(x_owner, "MAX_OWNER_BYTES", 100)
    monkeypatch.setattr(members, "CHUNK_BYTES", 64)
    assert "zip bomb" in await complaint(archives.archive_2022(tmp_path / "a.zip", TWEETS))


async def test_more_posts_than_any_person_wrote_are_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(x_archive, "MAX_ENTRIES", 3)
    assert "more than 3 posts" in await complaint(archives.archive_2022(tmp_path / "a.zip", TWEETS))
    monkeypatch.setattr(x_notes, "MAX_NOTES", 1)
    notes = [note(1, LONG), note(2, LONG)]
    assert "more than 1 long posts" in await complaint(archives.archive_2022(tmp_path / "a.zip", TWEETS, notes))


async def test_an_id_too_long_to_be_one_is_not_kept(tmp_path: Path) -> None:
    path = archives.archive_2022(tmp_path / "a.zip", [tweet(1, "a wren sings", id_str="9" * 100_000, id=None)])
    assert [p.id for p in await read(path)] == ["a.zip: data/tweets.js#1"]


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
    assert turns >= 6_000 // PAUSE_EVERY - 1  # the first turn only starts the counter
