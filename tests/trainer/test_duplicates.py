"""What an account says again: word for word, nearly so, and after one template."""

from __future__ import annotations

import random
import time

import pytest

from trainer.duplicates import MUCH_ALIKE, OF_ONE_TEMPLATE, REPEATED, TEMPLATE_POSTS, find_repeats

WORDS = "the kettle sang again while a pigeon listened under rain beyond every quiet harbour window tonight".split()


def sentences(count: int, *, words: int = 12) -> list[str]:
    rng = random.Random(1)
    return [" ".join(rng.choices(WORDS, k=words)) for _ in range(count)]


@pytest.mark.parametrize("again", ["the KETTLE sang again", "the kettle sang again", "\uff54he kettle sang again"])
def test_the_same_words_are_learned_once(again: str) -> None:
    assert find_repeats(["the kettle sang again", "and something else", again]) == {2: REPEATED}


@pytest.mark.parametrize(
    "again",
    [
        "The kettle sang again, and the pigeon listened in the rain!",
        "the kettle sang again, and the pigeons listened in the rain",
        "the kettle sang again, and the pigeon listened in the rain @jay #tea https://t.co/x",
        "17: the kettle sang again, and the pigeon listened in the rain",
    ],
)
def test_nearly_the_same_words_are_learned_once(again: str) -> None:
    first = "the kettle sang again, and the pigeon listened in the rain"
    assert find_repeats([first, "and something else altogether", again]) == {2: MUCH_ALIKE}


def test_what_differs_stays() -> None:
    texts = ["12 33 41 07 09", "12 34 41 08 55", "#tea #now @jay 1", "#rain #later @owl 2", "good morning to the wren"]
    assert find_repeats([*texts, "good night to the robin"]) == {}


def test_the_first_in_order_stays_and_only_what_is_like_one_that_stays_goes() -> None:
    words = [f"{first}{second}" for first in "abcdefghij" for second in "klmn"]
    chain = [" ".join([*("zz" for _ in range(n)), *words[n:]]) for n in (0, 3, 6)]  # each like the next only
    assert find_repeats(chain) == {1: MUCH_ALIKE}


@pytest.mark.parametrize("template", ["I just finished a quiz and got {}", "{} came by and was seen from the window"])
def test_posts_of_one_template_are_capped(template: str) -> None:
    others = sentences(100, words=10)
    made = [template.format(text) for text in sentences(100)]
    reasons = find_repeats([*made, *others])
    assert set(reasons) <= set(range(TEMPLATE_POSTS, 100))
    assert sum(reason == OF_ONE_TEMPLATE for reason in reasons.values()) == 100 - TEMPLATE_POSTS


def test_a_template_of_few_posts_is_a_habit() -> None:
    made = [f"I just finished a quiz and got {text}" for text in sentences(TEMPLATE_POSTS)]
    assert find_repeats([*made, *sentences(100, words=10)]) == {}


@pytest.mark.parametrize(
    "texts", [['"a' * 12_500] * 2, ["“" * 25_000, "@a.b" * 6000], [f"{n}" * 9000 for n in range(9)]]
)
def test_hostile_texts_take_little_time(texts: list[str]) -> None:
    start = time.process_time()
    find_repeats(texts)
    assert time.process_time() - start < 3


def test_many_posts_take_linear_time() -> None:
    start = time.process_time()
    find_repeats(sentences(10_000))
    assert time.process_time() - start < 5
