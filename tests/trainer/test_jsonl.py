"""The JSONL source: the field names of many tools, several authors, and broken lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.errors import Unreadable
from models.records import Post
from trainer.sources.fields import parse_time
from trainer.sources.jsonl import MAX_LINE_BYTES, Jsonl


def write(folder: Path, *records: object, name: str = "posts.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


async def read(*paths: Path, handle: str = "wren", since: datetime | None = None) -> list[Post]:
    return [post async for post in Jsonl(paths).posts(handle, since)]


async def complaint(path: Path, handle: str | None = "wren") -> str:
    with pytest.raises(Unreadable) as caught:
        await Jsonl([path]).profile(handle)
    return str(caught.value)


@pytest.mark.parametrize("key", ["full_text", "rawContent", "text", "content", "tweet", "body"])
async def test_the_text_goes_by_many_names(tmp_path: Path, key: str) -> None:
    assert [p.text for p in await read(write(tmp_path, {key: "hello"}, {"other": "nothing"}))] == ["hello"]


async def test_the_longest_form_of_the_text_wins(tmp_path: Path) -> None:
    (post,) = await read(write(tmp_path, {"text": "cut…", "full_text": "cut no more"}))
    assert post.text == "cut no more"


async def test_ids_are_text_and_fall_back_to_the_line(tmp_path: Path) -> None:
    records = [{"id": 918137015924854786}, {"tweet_id": "5"}, {}, {"id": "9.18137E+17"}, {"id": 9.18e17}]
    posts = await read(write(tmp_path, *({"text": "x"} | r for r in records)))
    assert [p.id for p in posts] == ["918137015924854786", "5", "posts.jsonl:3", "posts.jsonl:4", "posts.jsonl:5"]


async def test_each_id_comes_once_over_all_files(tmp_path: Path) -> None:
    one, two = (write(tmp_path, {"id": "1", "text": "a"}, {"text": "b"}, name=n) for n in ("1.jsonl", "2.ndjson"))
    assert [p.text for p in await read(one, two)] == ["a", "b", "b"]


@pytest.mark.parametrize(
    "stamp",
    [
        "2022-10-05T19:00:46Z",
        "2022-10-05T21:00:46.000+02:00",
        "Wed Oct 05 19:00:46 +0000 2022",
        "2022-10-05 19:00:46",
        "2022-10-05 19:00:46 +0000",
        "2022-10-05 19:00:46+00:00",
        "2022-10-05 19:00:46 UTC",
    ],
)
def test_dates_of_every_style_are_utc(stamp: str) -> None:
    assert parse_time(stamp) == datetime(2022, 10, 5, 19, 0, 46, tzinfo=UTC)


@pytest.mark.parametrize("stamp", [None, "", "yesterday", "2022-13-45", 5, [], "9" * 500, "0001-01-01T00:00:00+14:00"])
def test_a_date_that_is_none_is_none(stamp: object) -> None:
    assert parse_time(stamp) is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"is_retweet": True}, True),
        ({"isRetweet": "True"}, True),
        ({"retweet": "1"}, True),
        ({"retweet": 1}, True),
        ({"isRetweet": "true"}, True),
        ({"isRetweet": "t"}, True),
        ({"retweetedTweet": {"id": 5}}, True),
        ({"text": "RT @jay: hear"}, True),
        ({"retweetedTweet": None}, False),
        ({"isRetweet": "f"}, False),
        ({"is_retweet": False}, False),
        ({"is_retweet": "False"}, False),
        ({"retweeted": True}, False),
        ({}, False),
    ],
)
async def test_retweets_are_known_by_flag_or_prefix(tmp_path: Path, fields: dict[str, object], expected: bool) -> None:
    (post,) = await read(write(tmp_path, {"text": "hello"} | fields))
    assert post.is_retweet is expected


@pytest.mark.parametrize(
    "fields",
    [
        {"in_reply_to_status_id_str": "7", "in_reply_to_screen_name": "jay"},
        {"in_reply_to_status_id": 7, "in_reply_to_screen_name": "@jay"},
        {"inReplyToTweetId": 7, "inReplyToUser": {"username": "jay"}},
    ],
)
async def test_replies_know_what_they_answer(tmp_path: Path, fields: dict[str, object]) -> None:
    (post,) = await read(write(tmp_path, {"text": "hello"} | fields))
    assert (post.reply_to_id, post.reply_to_handle) == ("7", "jay")


async def test_only_the_asked_for_author_is_kept(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"text": "a", "screen_name": "Wren"},
        {"text": "b", "user": {"username": "jay"}},
        {"text": "c", "user": {"screen_name": "WREN"}},
        {"text": "d"},
    )
    assert [p.text for p in await read(path)] == ["a", "c"]


async def test_a_single_author_gives_the_profile(tmp_path: Path) -> None:
    path = write(tmp_path, {"text": "a", "user": {"username": "Wren", "displayname": "Jenny Wren"}})
    for asked, handle in ((None, "Wren"), ("@wren", "wren")):
        profile = await Jsonl([path]).profile(asked)
        assert (profile.handle, profile.name) == (handle, "Jenny Wren")


async def test_several_authors_need_a_handle(tmp_path: Path) -> None:
    path = write(tmp_path, *({"text": "a", "username": f"bird{n}"} for n in range(8)))
    sentence = await complaint(path, handle=None)
    assert "@bird0, @bird1" in sentence
    assert "and 3 more" in sentence


async def test_no_author_at_all_needs_a_handle(tmp_path: Path) -> None:
    path = write(tmp_path, {"text": "a"})
    assert "Name the handle" in await complaint(path, handle=None)
    assert (await Jsonl([path]).profile("@wren")).handle == "wren"


async def test_a_file_of_others_is_refused_by_name(tmp_path: Path) -> None:
    assert "posts of @jay, none of @wren" in await complaint(write(tmp_path, {"text": "a", "username": "jay"}))


async def test_only_posts_after_since_come(tmp_path: Path) -> None:
    path = write(tmp_path, *({"text": f"{d}", "created_at": f"2022-10-0{d}"} for d in (1, 2, 3)), {"text": "undated"})
    assert [p.text for p in await read(path, since=datetime(2022, 10, 2, tzinfo=UTC))] == ["3", "undated"]


async def test_blank_lines_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(b'\xef\xbb\xbf\r\n{"text": "a"}\r\n\r\n  \n{"text": "b"}')
    assert [p.text for p in await read(path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"text": "a"', "not valid JSON"),
        (b'[{"text": "a"}]', "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"id": ' + b"1" * 6000 + b"}", "not valid JSON"),
        ('{"text": "Zaunkönig"}'.encode("latin-1"), "not UTF-8"),
        (b'{"text": "' + b"x" * MAX_LINE_BYTES + b'"}', "longer than 1 MB"),
    ],
)
async def test_a_broken_line_is_named(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "posts.jsonl"
    path.write_bytes(b'{"text": "fine"}\n\n' + line + b"\n")
    sentence = await complaint(path)
    assert said in sentence
    assert "posts.jsonl" in sentence
    assert "line 3" in sentence


async def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    assert "can't be opened" in await complaint(tmp_path / "gone.jsonl")
