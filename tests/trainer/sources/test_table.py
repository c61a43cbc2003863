"""The table source: names of fields, authors, what is answered, and what it says of broken files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.errors import Unreadable
from models.records import Post
from trainer.sources.fields import parse_time
from trainer.sources.table import MAX_TEXT_CHARS, Table


def write(folder: Path, *records: object, name: str = "posts.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


async def read(*paths: Path, handle: str = "wren") -> list[Post]:
    return [post async for post in Table(paths).posts(handle)]


def plain(folder: Path, content: str, name: str = "posts.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


async def complaint(path: Path, handle: str | None = "wren") -> str:
    with pytest.raises(Unreadable) as caught:
        await Table([path]).profile(handle)
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
        profile = await Table([path]).profile(asked)
        assert (profile.handle, profile.name) == (handle, "Jenny Wren")


async def test_several_authors_need_a_handle(tmp_path: Path) -> None:
    path = write(tmp_path, *({"text": "a", "username": f"bird{n}"} for n in range(8)))
    sentence = await complaint(path, handle=None)
    assert "@bird0, @bird1" in sentence
    assert "and 3 more" in sentence


async def test_no_author_at_all_needs_a_handle(tmp_path: Path) -> None:
    path = write(tmp_path, {"text": "a"})
    assert "Name the handle" in await complaint(path, handle=None)
    assert (await Table([path]).profile("@wren")).handle == "wren"


async def test_a_file_of_others_is_refused_by_name(tmp_path: Path) -> None:
    assert "posts of @jay, none of @wren" in await complaint(write(tmp_path, {"text": "a", "username": "jay"}))


async def test_all_posts_come_whatever_is_held(tmp_path: Path) -> None:
    path = write(tmp_path, *({"id": str(n), "text": f"{n}", "created_at": f"2022-10-0{n}"} for n in (1, 2, 3)))
    assert [p.id async for p in Table([path]).posts("wren", since="2")] == ["1", "2", "3"]


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
        (b'{"text": ' + b"[" * 100_000, "not valid JSON"),
        (b'{"id": ' + b"1" * 6000 + b"}", "not valid JSON"),
        (b'{"text": "' + b"x" * 4000 + b'"}', "longer than"),
    ],
)
async def test_a_broken_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes, said: str) -> None:
    monkeypatch.setattr("trainer.sources.rows.MAX_OBJECT_CHARS", 3000 if said == "longer than" else 16 << 20)
    path = tmp_path / "posts.jsonl"
    path.write_bytes(b'{"text": "fine"}\n\n' + line + b"\n")
    sentence = await complaint(path)
    assert said in sentence
    assert "posts.jsonl" in sentence
    assert "line 3" in sentence


async def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    assert "can't be opened" in await complaint(tmp_path / "gone.jsonl")


async def test_a_post_longer_than_any_is_refused(tmp_path: Path) -> None:
    assert "posts.jsonl:1 is longer than" in await complaint(write(tmp_path, {"text": "x" * (MAX_TEXT_CHARS + 1)}))


@pytest.mark.parametrize(
    "content",
    [
        '[{"text": "a"}, {"text": "b"}]',
        '\n[\n {"text": "a"},\n {"text": "b"}\n]\n',
        '{\n "data": [{"text": "a"}, {"text": "b"}]\n}',
        '{\n "text": "a"\n}\n{\n "text": "b"\n}\n',
        '{"posts": [{"text": "a"}]}\n{"posts": [{"text": "b"}]}',
        '[{"tweet": {"text": "a"}}, {"tweet": {"text": "b"}}]',
    ],
)
async def test_json_of_every_shape_is_read_whatever_the_file_is_called(tmp_path: Path, content: str) -> None:
    for name in ("posts.json", "posts.jsonl", "posts.csv", "posts.txt"):
        assert [p.text for p in await read(plain(tmp_path, content, name))] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('["a", "b"]', "entry 1 of its list is not a JSON object"),
        ('[{"text": "a"}, {"text": ', "after 1 entries"),
        ("[" * 100_000, "nested deeper"),
        ('[{"id": ' + "1" * 6000 + "}]", "damaged after 0"),
        ('{\n"a": ' * 50_000, "nested deeper"),
        ("[]", "no posts"),
        ("{}", "no posts"),
        ('{"data": []}', "no posts"),
        ('{"words": "a", "n": 1}', "It has: words, n"),
        ("", "is empty"),
        ("\ufeff\r\n", "is empty"),
        ("id,words,date\n1,a,2020-01-01\n", "Its first line is: id, words, date"),
        ("text\n\n\n", "no posts"),
        ("id,text\n1,\n2, \n", "no text that I can find"),
    ],
)
async def test_files_without_posts_are_refused_in_words(tmp_path: Path, content: str, said: str) -> None:
    sentence = await complaint(plain(tmp_path, content))
    assert said in sentence
    assert "posts.csv" in sentence


@pytest.mark.parametrize("key", ["TEXT", "Full Text", "tweet-text", "Raw.Content", " content ", "Tweet"])
async def test_columns_are_known_however_they_are_spelt(tmp_path: Path, key: str) -> None:
    assert [p.text for p in await read(plain(tmp_path, f"n,{key}\n1,hello\n"))] == ["hello"]
    assert [p.text for p in await read(write(tmp_path, {key: "hello"}))] == ["hello"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
async def test_every_delimiter_and_line_end_is_understood(tmp_path: Path, delimiter: str, end: str) -> None:
    rows = (
        ("id", "text", "lang"),
        ("7", '"say ""hi"", or;not|so\tsoon\nor late"', "en"),
        ("", "", ""),
        ("8", "b", "de"),
    )
    path = tmp_path / "posts.csv"
    path.write_bytes(end.join(delimiter.join(row) for row in rows).encode())
    assert [(p.id, p.text, p.lang) for p in await read(path)] == [
        ("7", 'say "hi", or;not|so\tsoon\nor late', "en"),
        ("8", "b", "de"),
    ]


@pytest.mark.parametrize("hint", ["sep=;", '"sep=;"', "SEP=;"])
async def test_excels_hint_at_the_delimiter_is_no_row(tmp_path: Path, hint: str) -> None:
    assert [p.text for p in await read(plain(tmp_path, f"{hint}\r\nid;text\r\n7;a, b\r\n"))] == ["a, b"]


async def test_ragged_rows_and_columns_of_one_name_do_not_matter(tmp_path: Path) -> None:
    path = plain(tmp_path, "id,text,Text,lang\n7,,b,en,too,many\n8,a\n9\n,d,e\n")
    assert [(p.id, p.text, p.lang) for p in await read(path)] == [
        ("7", "b", "en"),
        ("8", "a", None),
        ("posts.csv:5", "d", None),
    ]


async def test_a_row_is_numbered_by_the_line_that_it_begins_on(tmp_path: Path) -> None:
    path = plain(tmp_path, 'text,n\n"a\nb\nc",1\n\nd,2\n')
    assert [p.id for p in await read(path)] == ["posts.csv:2", "posts.csv:6"]


async def test_a_column_of_posts_alone_needs_no_quotes(tmp_path: Path) -> None:
    with_header = plain(tmp_path, "text\nhello, you\nso; it | goes\n", "posts.csv")
    without = plain(tmp_path, "hello, you\nso; it | goes\n", "posts.txt")
    bare = plain(tmp_path, "hello you\nso it goes\n", "bare.csv")
    assert [p.text for p in await read(with_header)] == [p.text for p in await read(without)]
    assert [p.text for p in await read(bare)] == ["hello you", "so it goes"]
    assert "Name the handle" in await complaint(without, handle=None)


async def test_rounded_ids_of_a_spreadsheet_are_not_taken_for_ids(tmp_path: Path) -> None:
    content = 'id;text;in_reply_to_status_id\n1,23457E+18;a;1,23457E+18\n="918137015924854786";b;0\n'
    posts = await read(plain(tmp_path, content))
    assert [(p.id, p.reply_to_id) for p in posts] == [("posts.csv:2", None), ("918137015924854786", None)]


async def test_ids_that_stand_for_the_person_lose_no_post(tmp_path: Path) -> None:
    path = plain(tmp_path, "id,text\n7,a\n7,b\n7,a\n1577733513441599488,c\n1577733513441599488,c again\n")
    assert [(p.id, p.text) for p in await read(path)] == [
        ("7", "a"),
        ("posts.csv:3", "b"),
        ("1577733513441599488", "c"),
    ]


@pytest.mark.parametrize("column", ["in_reply_to_text", "Reply to text", "parent_text", "answers"])
async def test_what_is_answered_may_be_a_column(tmp_path: Path, column: str) -> None:
    path = plain(tmp_path, f"text,{column}\nhello,who is there?\nalone,\nnone,nan\n")
    assert [p.answers for p in await read(path)] == ["who is there?", None, None]


async def test_what_is_answered_may_be_any_row_of_any_file(tmp_path: Path) -> None:
    content = "id,username,text,in_reply_to_status_id\n{}\n"
    one = plain(tmp_path, content.format("1,wren,late,4\n2,jay,who?,\n3,wren,me,2"), "1.csv")
    two = plain(tmp_path, content.format("4,owl,is it late?,\n5,wren,and more,3\n6,wren,lost,99"), "2.csv")
    posts = await read(one, two)
    assert {p.text: p.answers for p in posts} == {"late": "is it late?", "me": "who?", "and more": "me", "lost": None}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["cats &amp; dogs", "1 &lt; 2"], True),
        (["cats", "dogs"], True),
        (["cats & dogs", "1 < 2"], False),
        (["cats &amp; dogs", "tea &amp; cake", "an odd & one"], True),
        (["write &amp; for &", "tea & cake", "I <3 you"], False),
    ],
)
async def test_whether_text_is_escaped_the_file_tells(tmp_path: Path, texts: list[str], expected: bool) -> None:
    posts = await read(write(tmp_path, *({"text": text} for text in texts)))
    assert {p.is_escaped for p in posts} == {expected}


async def test_authors_that_are_numbers_only_are_not_mixed(tmp_path: Path) -> None:
    alone = plain(tmp_path, "author_id,text\n7,a\n7,b\n")
    assert len(await read(alone)) == 2
    assert "only their numbers" in await complaint(plain(tmp_path, "author_id,text\n7,a\n8,b\n"))


async def test_a_proof_cannot_come_from_a_file(tmp_path: Path) -> None:
    user = {"username": "wren", "rawDescription": "code 123", "description": "code 123"}
    assert (await Table([write(tmp_path, {"text": "a", "user": user})]).profile(None)).bio == ""


async def test_of_many_authors_in_a_file_without_a_header_one_is_chosen(tmp_path: Path) -> None:
    rows = (f'"0","{n}","Mon Apr 06 22:19:45 PDT 2009","NO_QUERY","bird{n % 3}","post {n}"\n' for n in range(9))
    path = plain(tmp_path, "".join(rows))
    assert "@bird0, @bird1, @bird2" in await complaint(path, handle=None)
    assert [p.text for p in await read(path, handle="Bird1")] == ["post 1", "post 4", "post 7"]


async def test_a_deleted_post_is_left_out(tmp_path: Path) -> None:
    path = plain(tmp_path, "text,isDeleted\na,f\nb,t\nc,\nd,TRUE\n")
    assert [p.text for p in await read(path)] == ["a", "c"]
