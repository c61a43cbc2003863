"""Corpora to documents: who answers whom, what is left out, and what is never trained on."""

from __future__ import annotations

import hashlib
import lzma
import random
from collections import Counter
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from models.text import DEFAULT_FORMAT
from trainer.pretrain.config import Corpus, Part
from trainer.pretrain.corpus import MAX_QUOTES, documents, held_out, is_held_out, is_wanted, read_lines

SEEDS = range(30)  # whether a line carries quotes is drawn: often enough that each case comes up


def numbered(amount: int, *, held: bool) -> list[str]:
    """Different lines, all of them held out or none."""
    lines = (f"the kettle sang {i} times" for i in count())
    return list(islice((line for line in lines if is_held_out(line) == held), amount))


def mixed() -> list[str]:
    """300 ordinary lines with a held-out one after each six of them."""
    ordinary, held = numbered(300, held=False), iter(numbered(50, held=True))
    return [line for i in range(0, 300, 6) for line in (*ordinary[i : i + 6], next(held))]


def made(lines: Sequence[str], /, *, seed: int = 1, **fields: Any) -> list[str]:
    part = Part(name="talk", corpus="talk", shares={"stable": 1.0}, **fields)
    return list(documents(part, lines, rng=random.Random(seed)))


def taken_apart(document: str) -> tuple[list[str], str]:
    """(the quoted lines, the text) of a document of one-line texts."""
    *quotes, text = document.split("\n")
    assert all(quote.startswith("> ") for quote in quotes)
    return [quote.removeprefix("> ") for quote in quotes], text


@pytest.mark.parametrize("is_raw", [False, True])
@pytest.mark.parametrize("dialogue", [False, True])
def test_a_held_out_line_is_in_no_document(dialogue: bool, is_raw: bool) -> None:
    lines = mixed()
    said = {line for doc in made(lines, dialogue=dialogue, is_raw=is_raw) for line in doc.replace("> ", "").split("\n")}
    leaked = said & {line for line in lines if is_held_out(line)}
    assert leaked == set()


@pytest.mark.parametrize("is_raw", [False, True])
@pytest.mark.parametrize("dialogue", [False, True])
def test_every_other_line_is_the_text_of_one_document_and_in_order(dialogue: bool, is_raw: bool) -> None:
    lines = mixed()
    texts = [taken_apart(document)[1] for document in made(lines, dialogue=dialogue, is_raw=is_raw)]
    assert texts == [line for line in lines if not is_held_out(line)]


def test_held_out_lines_are_some_of_many() -> None:
    lines = [f"the pigeon waited {i} times" for i in range(40_000)]
    assert 50 < sum(map(is_held_out, lines)) < 150  # one in 400


def test_held_out_gives_the_held_out_lines_that_are_wanted_and_no_other() -> None:
    unwanted = next(line for i in count() if is_held_out(line := f"a naked kettle {i}"))
    lines = [*mixed(), unwanted]
    assert held_out(lines, limit=1000) == numbered(50, held=True)


def test_held_out_lines_are_taken_from_all_over_the_corpus() -> None:
    lines = mixed()
    places = [lines.index(line) for line in held_out(lines, limit=10)]
    assert len(places) == 10
    assert places[0] < len(lines) / 4
    assert places[-1] > len(lines) * 3 / 4


def test_a_line_of_a_dialogue_carries_up_to_three_of_the_lines_directly_before_it() -> None:
    lines = mixed()
    carried: Counter[int] = Counter()
    for document in made(lines, dialogue=True):
        quotes, text = taken_apart(document)
        place = lines.index(text)
        assert quotes == lines[place - len(quotes) : place]
        assert document == DEFAULT_FORMAT.opening(text, quotes)
        carried[len(quotes)] += 1
    assert set(carried) == set(range(MAX_QUOTES + 1)) == {0, 1, 2, 3}


def test_the_first_line_of_a_dialogue_carries_nothing() -> None:
    lines = numbered(10, held=False)
    for seed in SEEDS:
        quotes = [taken_apart(document)[0] for document in made(lines, seed=seed, dialogue=True, lines=(4, 10))]
        assert quotes[0] == []  # not what stands before the part
        assert len(quotes[1]) <= 1


@pytest.mark.parametrize(
    ("between", "is_raw"),
    [
        ("a naked kettle", False),
        ("", False),
        ("   ", False),
        ("a naked kettle", True),
        ("the k\ufffdttle sang", True),
        ("!kettle", True),
        ("https://wren.example/only-a-link", True),
    ],
)
def test_an_unwanted_line_ends_the_chain_of_answers(between: str, is_raw: bool) -> None:
    before, after = (lines := numbered(8, held=False))[:4], lines[4:]
    for seed in SEEDS:
        made_of = dict(
            reversed(taken_apart(document))  # type: ignore[misc]
            for document in made([*before, between, *after], seed=seed, dialogue=True, is_raw=is_raw)
        )
        assert list(made_of) == [*before, *after]
        for text in after:
            assert not set(made_of[text]) & {*before, between}


def test_lines_that_answer_nothing_carry_nothing() -> None:
    lines = numbered(100, held=False)
    assert made(lines) == lines


def test_a_part_is_only_its_own_lines() -> None:
    lines = numbered(20, held=False)
    assert made(lines, lines=(5, 12)) == lines[5:12]


def test_raw_lines_are_cleaned_as_posts_are() -> None:
    assert made(["look  at https://wren.example/kettle?a=1 when you can <|endoftext|>"], is_raw=True) == [
        "look at when you can"
    ]


def test_lines_that_are_not_raw_stay_as_they_are() -> None:
    assert made(["  look at https://wren.example/kettle  when you can  "]) == [
        "look at https://wren.example/kettle  when you can"
    ]


PERSONAL = ["write to jenny@wren.org about it", "call me at +1 415-555-2671", "call me at (415) 555-2671"]


@pytest.mark.parametrize(
    "line",
    [
        *PERSONAL,
        "it answers at 192.168.121.20 now",
        "the number is 1234 5678 9012 3456",
        "see /usr/share/doc/kettle for more",
        "kettle: {{ temperature }} ~~",
        "===================",
        "/join #kettle",
        "!kettle please",
        "sha " + "0a1b2c3d" * 5,
        "the k\ufffdttle sang",
    ],
)
def test_a_raw_line_with_an_address_a_number_or_machine_output_goes(line: str) -> None:
    assert not is_held_out(line)
    assert made([line], is_raw=True) == []


@pytest.mark.parametrize("line", PERSONAL)
def test_no_address_and_no_telephone_number_gets_into_a_document(line: str) -> None:
    text = "\n".join(made([line, "and then?", "so what?"], is_raw=True, dialogue=True))
    assert "@" not in text and "555" not in text


@pytest.mark.parametrize(
    "line", ["it took 3 minutes - 45 at most", "what /is/ that?", "see you at 10:30, ok? :)", "wait... what!!"]
)
def test_a_raw_line_of_talk_stays(line: str) -> None:
    assert made([line], is_raw=True) == [line]


@pytest.mark.parametrize(
    "line",
    ["what the fuck", "BULLSHIT, all of it", "a naked man", "you should kill yourself", "Nazis marched", "sexy!"],
)
def test_a_line_with_an_unwanted_word_is_dropped(line: str) -> None:
    assert not is_wanted(line)
    for dialogue in (False, True):
        assert "".join(made(["the kettle sang", line, "the pigeon waited"], dialogue=dialogue)).find(line) == -1


@pytest.mark.parametrize("line", ["a class in Essex", "grapes for the therapist", "Scunthorpe's shirts", "rap music"])
def test_a_word_is_not_unwanted_for_the_letters_in_it(line: str) -> None:
    assert is_wanted(line)
    assert made([line]) == [line]


def test_the_same_seed_makes_the_same_documents_and_another_does_not() -> None:
    once, again, other = (made(mixed(), seed=seed, dialogue=True) for seed in (1, 1, 2))
    assert once == again
    assert once != other


def write(folder: Path, lines: Sequence[str]) -> Corpus:
    data = lzma.compress("\n".join(lines).encode())
    (folder / "talk.txt.xz").write_bytes(data)
    return Corpus(name="talk", file="talk.txt.xz", sha256=hashlib.sha256(data).hexdigest(), licence="CC0", what="talk")


def test_a_corpus_is_read_line_by_line_and_breaks_only_at_line_feeds(tmp_path: Path) -> None:
    lines = ["the kettle sang\u2028again\x85", "", "the pigeon: \N{DOVE OF PEACE}"]
    assert read_lines(write(tmp_path, lines), tmp_path) == lines


def test_a_file_with_another_sha_256_is_refused(tmp_path: Path) -> None:
    named = write(tmp_path, ["the kettle sang"])
    found = write(tmp_path, ["the kettle slept"])
    with pytest.raises(ValueError, match=rf"talk\.txt\.xz.*{found.sha256}.*{named.sha256}"):
        read_lines(named, tmp_path)
