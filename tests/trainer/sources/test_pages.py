"""Kept pages: nothing is asked for twice, and nothing is kept that did not come whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.sources import pages as module
from trainer.sources.pages import Page, Pages


class Book:
    """Pages of one letter, each with the token of the next; `asked` are the tokens that were asked for."""

    def __init__(self, letters: str) -> None:
        self.letters = letters
        self.asked: list[str | None] = []
        self.torn: int | None = None

    async def fetch(self, token: str | None) -> Page:
        self.asked.append(token)
        number = int(token or 0)
        if number == self.torn:
            raise ConnectionError
        return Page(answer=self.letters[number], next=str(number + 1) if number + 1 < len(self.letters) else None)


async def walk(folder: Path, fetch: Any) -> list[Any]:
    return [answer async for answer in Pages(folder).walk(fetch)]


async def test_a_walk_goes_to_the_end(tmp_path: Path) -> None:
    book = Book("abc")
    assert await walk(tmp_path / "new", book.fetch) == ["a", "b", "c"]
    assert book.asked == [None, "1", "2"]


async def test_a_second_walk_asks_for_nothing(tmp_path: Path) -> None:
    await walk(tmp_path, Book("abc").fetch)
    book = Book("xyz")
    assert await walk(tmp_path, book.fetch) == ["a", "b", "c"]
    assert book.asked == []


async def test_a_walk_that_broke_off_goes_on_where_it_was(tmp_path: Path) -> None:
    book = Book("abcd")
    book.torn = 2
    with pytest.raises(ConnectionError):
        await walk(tmp_path, book.fetch)
    book.torn = None
    assert await walk(tmp_path, book.fetch) == ["a", "b", "c", "d"]
    assert book.asked == [None, "1", "2", "2", "3"]


async def test_a_damaged_page_is_asked_for_again_and_no_other(tmp_path: Path) -> None:
    await walk(tmp_path, Book("abc").fetch)
    for damage in (b"", b"torn", (tmp_path / "0003.json.zst").read_bytes()[:-3]):
        (tmp_path / "0002.json.zst").write_bytes(damage)
        book = Book("abc")
        assert await walk(tmp_path, book.fetch) == ["a", "b", "c"]
        assert book.asked == ["1"]


async def test_tokens_that_go_in_circles_end_the_walk(tmp_path: Path) -> None:
    tokens = {None: "x", "x": "y", "y": "x"}

    async def fetch(token: str | None) -> Page:
        return Page(answer=token, next=tokens[token])

    assert await walk(tmp_path, fetch) == [None, "x", "y"]
    assert await walk(tmp_path, fetch) == [None, "x", "y"]


async def test_a_server_without_an_end_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAGES", 7)
    assert len(await walk(tmp_path, Book("x" * 100).fetch)) == 7


@pytest.mark.parametrize("answer", [None, [], {}, "\ud800 \x00 🦉", 10**400, float("inf"), {"a": [1.5, None, True]}])
async def test_any_answer_is_kept_as_it_came(tmp_path: Path, answer: Any) -> None:
    async def fetch(_: str | None = None) -> Page:
        return Page(answer=answer, next=None)

    async def gone() -> Any:
        raise AssertionError("asked twice")

    async def bring() -> Any:
        return answer

    assert await walk(tmp_path, fetch) == await walk(tmp_path, fetch) == [answer]
    assert await Pages(tmp_path).once("profile", bring) == answer
    assert await Pages(tmp_path).once("profile", gone) == answer
