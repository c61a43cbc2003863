"""Tables in the encodings that files come in, and files of strangers that are no tables at all."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.errors import Unreadable
from models.records import Post
from tests.fakes.tables import PRODUCERS
from trainer.sources import encoding
from trainer.sources.delimited import MAX_ROW_CHARS
from trainer.sources.table import Table

GREETINGS = {  # a few posts each: one alone gives too little away
    "cp1252": ("Ein Zaunkönig grüßt früh", "“Quoted” – and a £5 café", "Ça va très bien, merci à tous"),
    "latin-1": ("El niño comió rápido en la mañana", "¿Qué pasó? ¡Olé!", "aquí está lloviendo"),
    "cp1250": ("Dzisiaj jest piękna pogoda", "chodźmy na spacer do lasu", "będzie świetnie, jeszcze więcej śniegu"),
    "cp1251": ("Сегодня очень хорошая погода", "пойдём гулять в лес", "и будем петь на рассвете"),
    "koi8_r": ("Сегодня очень хорошая погода", "пойдём гулять в лес", "и будем петь на рассвете"),
    "cp1253": ("Καλημέρα, τι κάνεις σήμερα;", "πάμε για καφέ στην πλατεία", "ο καιρός είναι πολύ καλός"),
    "cp932": ("今日はとても良い天気ですね", "散歩に行きましょう", "朝から鳥が歌っています"),
    "gb18030": ("今天天气很好,我们去散步吧", "你觉得怎么样", "早上小鸟在唱歌"),
    "cp949": ("오늘 날씨가 정말 좋네요", "산책 갑시다", "아침부터 새들이 노래해요"),
}
UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


async def read(path: Path) -> list[Post]:
    return [post async for post in Table([path]).posts("wren")]


def as_csv(texts: tuple[str, ...]) -> str:
    return "id,text,date\r\n" + "".join(f'{n},"{text}",2022-10-05\r\n' for n, text in enumerate(texts, 1))


@pytest.mark.parametrize("name", GREETINGS)
async def test_encodings_of_before_unicode_are_told_by_their_text(tmp_path: Path, name: str) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes(as_csv(GREETINGS[name]).encode(name))
    assert [p.text for p in await read(path)] == list(GREETINGS[name])


@pytest.mark.parametrize("name", UNICODE)
@pytest.mark.parametrize("shape", ["csv", "json", "jsonl", "txt"])
async def test_every_unicode_encoding_is_understood_in_every_shape(tmp_path: Path, name: str, shape: str) -> None:
    texts = ["Zaunkönig 🐦", "пойдём 今日は", "plain words"]
    rows = [{"text": text} for text in texts]
    content = {
        "csv": as_csv(tuple(texts)),
        "json": json.dumps(rows, ensure_ascii=False, indent=1),
        "jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in rows),
        "txt": "\n".join(texts),
    }[shape]
    path = tmp_path / f"posts.{shape}"
    path.write_bytes(content.encode(name))
    assert [p.text for p in await read(path)] == texts


async def test_a_character_cut_in_two_does_not_make_a_file_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes(("text\n" + "grüße 🐦\n" * 100).encode() + "cut 🐦".encode()[:-2] + b"\n")
    posts = await read(path)
    assert posts[0].text == "grüße 🐦"
    assert posts[-1].text.startswith("cut ")


async def test_accents_far_into_a_file_are_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK_BYTES", 1 << 10)
    path = tmp_path / "posts.csv"
    path.write_bytes(b"text,n\n" + b"plain words,1\n" * 1000 + "grüß Gott,2\n".encode("latin-1"))
    assert (await read(path))[-1].text == "grüß Gott"


def zipped(name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, "text\nhello\n")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zipped("xl/workbook.xml"), "Save the sheet as CSV"),
        (zipped("posts.csv"), "unpack it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "Save the sheet as CSV"),
        (gzip.compress(b"text\nhello\n", mtime=0), "Unpack it"),
        (b"%PDF-1.7\n", "PDF"),
        (b"SQLite format 3\0" + b"\0\1\2\3" * 600, "holds no text"),
        (b"text\0\0hello\0\n", "holds no text"),
        (bytes(range(1, 32)) * 40, "holds no text"),
        (b"\xff\xfe" + b"\x00\xd8" * 500, "holds no text"),
        (b"   \n\t\r\n", "is empty"),
    ],
)
async def test_what_is_no_text_is_refused_with_what_to_do(tmp_path: Path, content: bytes, said: str) -> None:
    for name in ("posts.csv", "posts.json"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(Unreadable, match=said) as caught:
            await Table([path]).profile("wren")
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,text\n1," + "x" * MAX_ROW_CHARS, "line 2 is longer than 1,048,576"),
        ("id,text\n1," + "x" * 140_000 + "\n", "line 2 has a cell of more than 131,072"),
        ('id,text\n1,a\n2,"never closed\n' + "3,b\n" * 50_000, "line 3 has a cell"),
        ('id,text\n1,a\n2,"' + 'x\n","' * 300_000, "longer than 1,048,576"),
        ("," * MAX_ROW_CHARS * 2, "longer than 1,048,576"),
        ("," * 500_000 + "\n1", "no column that I know"),
        ('{"text": "' + "x" * (9 << 20), "line 1 is longer than 8 MB"),
        ("[" + '{"a":' * 5_000 + "1" + "}" * 5_000 + "]", "nested deeper"),
    ],
)
async def test_rows_without_an_end_are_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "posts.csv"
    path.write_text(content)
    with pytest.raises(Unreadable, match=said):
        await Table([path]).profile("wren")


async def test_a_hundred_thousand_columns_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_text(",".join(f"c{n}" for n in range(100_000)) + ",text\n" + ("," * 100_000 + "hi\n") * 3)
    assert [p.text for p in await read(path)] == ["hi"] * 3


async def test_a_large_table_is_never_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    filler = "y" * 6000
    with path.open("w") as file:
        file.write("id,text,other\n")
        file.writelines(f"{10**18 + n},hello {n},{filler}\n" for n in range(3_000))
        file.write("\n" * 3_000)
    assert path.stat().st_size > 18_000_000
    count = 0
    tracemalloc.start()
    try:
        async for _ in Table([path]).posts("wren"):
            count += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 3_000
    assert peak < 8_000_000  # the ids, and a window of the text


async def outcome(path: Path) -> None:
    """Read it to the end, or hear why not."""
    table = Table([path])
    try:
        await table.profile(None)
    except Unreadable as exc:
        assert path.name in str(exc)
    try:
        async for post in table.posts("wren"):
            assert post.text
            post.text.encode()
    except Unreadable as exc:
        assert path.name in str(exc)


HOSTILE = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(
    *[
        "text id id_str date time timezone created_at user author username author_id type isDeleted retweet entities "
        "links reply_to referenced_tweets note_tweet data includes in_reply_to_status_id retweeted_status".split()
    ]
)


@HOSTILE
@given(content=st.binary(max_size=400), head=st.sampled_from([b"", b"text,id\n", b"[", b"{", b"\xff\xfe", b"sep=;\n"]))
@example(content=b'"' * 399, head=b"text\n")
async def test_random_bytes_are_read_or_refused(tmp_path: Path, content: bytes, head: bytes) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes(head + content)
    await outcome(path)


@HOSTILE
@given(records=st.lists(st.dictionaries(keys, json_values, max_size=6), min_size=1, max_size=3))
async def test_fields_of_any_type_are_read_or_refused(tmp_path: Path, records: list[dict[str, object]]) -> None:
    path = tmp_path / "posts.json"
    path.write_text("\n".join(json.dumps(record) for record in records))
    await outcome(path)


async def test_files_cut_anywhere_are_read_or_refused(tmp_path: Path) -> None:
    for producer in PRODUCERS:
        produced = producer()
        path = tmp_path / produced.name
        for end in range(0, len(produced.content), max(1, len(produced.content) // 25)):
            path.write_bytes(produced.content[:end])
            await outcome(path)
