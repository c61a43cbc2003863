"""Arrays entry by entry: whole, in pieces of any size, and broken or hostile in every way."""

from __future__ import annotations

import json
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import Unreadable
from trainer.sources import json_stream
from trainer.sources.json_stream import MAX_ENTRY_CHARS, entries, texts

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


def read(data: bytes, size: int = 1 << 16) -> list[object]:
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return list(entries(texts(pieces, "a.json"), "a.json"))


def complaint(data: bytes, size: int = 1 << 16) -> str:
    with pytest.raises(Unreadable) as caught:
        read(data, size)
    return str(caught.value)


@settings(deadline=None)
@given(
    values=st.lists(VALUES, max_size=6),
    size=st.integers(1, 40),
    start=st.sampled_from(["", "\ufeff", "window.YTD.x.part0 = ", "Grailbird.data.tweets_2015_01 = \n ", " \n"]),
    end=st.sampled_from(["", ";", "\n]] trash"]),
    indent=st.sampled_from([None, 2]),
    is_ascii=st.booleans(),
)
def test_any_array_comes_back_entry_by_entry_in_pieces_of_any_size(values, size, start, end, indent, is_ascii) -> None:
    text = start + json.dumps(values, indent=indent, ensure_ascii=is_ascii) + end
    assert read(text.encode("utf-8", "surrogatepass"), size) == values


@settings(deadline=None)
@given(data=st.binary(max_size=60), start=st.sampled_from([b"", b"[", b"x = [{", b'[["']), size=st.integers(1, 9))
def test_whatever_is_given_is_read_or_unreadable(data: bytes, start: bytes, size: int) -> None:
    try:
        read(start + data, size)
    except Unreadable as exc:
        assert "a.json" in str(exc)


@settings(deadline=None)
@given(
    values=st.lists(VALUES, min_size=1, max_size=4), share=st.floats(0, 1, exclude_max=True), size=st.integers(1, 40)
)
def test_an_array_that_is_cut_off_is_never_taken_for_whole(values, share: float, size: int) -> None:
    data = json.dumps(values).encode()
    assert "a.json" in complaint(data[: int(share * len(data))], size)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b"{}", "no list"),
        (b"hello", "no list"),
        (b" " * 500 + b"x", "no list"),
        (b" " * 200_000 + b"x", "a.json"),
        (b"x" * 2000 + b"= []", "no list"),
        (b"[", "after 0 entries"),
        (b'[{"a": 1}, {"b"', "after 1 entries"),
        (b"[[1], [2]}", "after 2 entries"),
        (b"[12x]", "after 0 entries"),
        (b'["' + b"x" * 100 + b'\n"]', "after 0 entries"),
        (b'[{"a": ' + b"9" * 6000 + b"}]", "damaged after 0 entries"),
        (b"[" * 100_000, "nested deeper"),
        (b'[{"a":' * 50_000, "nested deeper"),
        ("[“a”]".encode("latin-1", "replace"), "after 0"),
        ('["Zaunkönig"]'.encode("latin-1"), "not UTF-8"),
        ('["a"]'.encode("utf-16"), "not UTF-8"),
        (b'["a\xc3', "not UTF-8"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, said: str) -> None:
    for size in (7, 1 << 16):
        assert said in complaint(data, size)


@pytest.mark.parametrize("filling", [b"x", b"[],", b'\\"'])
@pytest.mark.parametrize("size", [64, 1 << 18])
def test_an_entry_without_an_end_is_given_up_soon_and_in_little_memory(filling: bytes, size: int) -> None:
    start = b'[{"a": [' if filling == b"[]," else b'[{"a": "'
    served = 0

    def endless():
        nonlocal served
        yield start
        while True:
            piece = filling * max(1, size // len(filling))
            served += len(piece)
            yield piece

    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(Unreadable, match="cut off or damaged after 0"):
            next(entries(texts(endless(), "a.json"), "a.json"))
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    assert served < 4 * MAX_ENTRY_CHARS
    assert time.process_time() - started < 10


def test_an_entry_in_many_pieces_is_not_read_again_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    decoder = json.JSONDecoder()

    class Counting:
        def raw_decode(self, window: str, at: int):
            looks.append(len(window) - at)
            return decoder.raw_decode(window, at)

    monkeypatch.setattr(json_stream, "_DECODER", Counting())
    data = json.dumps([{"text": "x" * 500_000}]).encode()
    assert len(read(data, 100)) == 1
    assert sum(looks) < 3 * len(data)


def test_blanks_without_end_take_no_memory() -> None:
    def blanks():
        yield b"["
        for _ in range(500):
            yield b" \n," * 20_000

    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match="cut off"):
            next(entries(texts(blanks(), "a.json"), "a.json"))
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
