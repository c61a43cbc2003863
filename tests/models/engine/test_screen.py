"""Which drafts are shown: whole sentences that say something, each once."""

from __future__ import annotations

import pytest

from models.engine.screen import Draft, screen


def ended(*texts: str) -> list[Draft]:
    return [Draft(text=text, ended=True) for text in texts]


def cut_off(*texts: str) -> list[Draft]:
    return [Draft(text=text, ended=False) for text in texts]


def trimmed(text: str) -> str | None:
    texts, left_out = screen(cut_off(text), prompt="", count=1)
    assert bool(texts) != (left_out == {"cut off": 1})
    return texts[0] if texts else None


def test_a_draft_that_ended_is_kept_as_it_is() -> None:
    assert screen(ended(" sings, and then"), prompt="Robin", count=3) == (["Robin sings, and then"], {})


def test_posts_are_stripped_but_keep_their_lines() -> None:
    assert screen(ended("  one\n\ntwo  \n"), prompt="", count=1) == (["one\n\ntwo"], {})


def test_the_prompt_is_part_of_the_post_as_it_is() -> None:
    assert screen(ended("nder."), prompt="I wo", count=1) == (["I wonder."], {})


@pytest.mark.parametrize("text", ["", "   \n", "...", "?!", "-- ,;", "\u200b", "\ufffd"])
def test_a_draft_that_says_nothing_is_left_out(text: str) -> None:
    assert screen(ended(text), prompt="Hello", count=1) == ([], {"empty": 1})


@pytest.mark.parametrize("text", ["7", "é", "鳥", "ん", "ع", "🎉", "!!! 🐦", "❤️", "👍🏽", pytest.param("🇫🇷")])
def test_a_letter_a_digit_or_an_emoji_says_something(text: str) -> None:
    assert screen(ended(text), prompt="", count=1) == ([text], {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rains. It pours and", "It rains."),
        ("Really?! I never", "Really?!"),
        ("Wait… what is", "Wait…"),
        ("He said “go home.” Then", "He said “go home.”"),
        ('She said "no!" and', 'She said "no!"'),
        ("(It rains.) And", "(It rains.)"),
        ("It rains. 🌧️ And it", "It rains. 🌧️"),
        ("We won! 👩‍👩‍👧🎉 and then", "We won! 👩‍👩‍👧🎉"),
        ("First line.\n\nSecond li", "First line."),
        ("All is said.", "All is said."),
        ("All is said.  ", "All is said."),
    ],
)
def test_a_draft_that_was_cut_off_ends_with_its_last_whole_sentence(text: str, expected: str) -> None:
    assert trimmed(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("鳥が歌う。そして", "鳥が歌う。"),
        ("本当？まさ", "本当？"),
        ("すごい！！でも", "すごい！！"),
        ("天气很好。我们去", "天气很好。"),
    ],
)
def test_chinese_and_japanese_sentences_end_without_a_space(text: str, expected: str) -> None:
    assert trimmed(text) == expected


@pytest.mark.parametrize("text", ["", "and then the", "鳥が歌う"])
def test_a_draft_without_a_whole_sentence_is_left_out(text: str) -> None:
    assert trimmed(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Great! 👍🏽 And", "Great! 👍🏽"),
        pytest.param("Allez! 🇫🇷 Et", "Allez! 🇫🇷"),
        pytest.param("「行こう。」と", "「行こう。」"),
        pytest.param("（終わり。）次", "（終わり。）"),
        pytest.param("Il dit «oui.» Puis", "Il dit «oui.»"),
    ],
)
def test_what_closes_a_sentence_stays_with_it(text: str, expected: str) -> None:
    assert trimmed(text) == expected


@pytest.mark.parametrize("text", ["It rains. Pi is 3.14 and", "It rains. See example.org for", "It rains. At 9.30 we"])
def test_a_point_within_a_word_ends_no_sentence(text: str) -> None:
    assert trimmed(text) == "It rains."


def test_a_draft_said_twice_is_shown_once() -> None:
    drafts = ended(" one", " two", " one ", " one")
    assert screen(drafts, prompt="", count=4) == (["one", "two"], {"said twice": 2})


def test_a_trimmed_draft_is_compared_as_shown() -> None:
    drafts = [*ended("It rains."), *cut_off("It rains. And")]
    assert screen(drafts, prompt="", count=4) == (["It rains."], {"said twice": 1})


def test_no_more_than_asked_for_are_shown_in_their_order() -> None:
    texts, left_out = screen(ended("a", "", "b", "c", "d"), prompt="", count=3)
    assert texts == ["a", "b", "c"]
    assert left_out == {"empty": 1}


def test_every_draft_left_out_is_counted_by_its_reason() -> None:
    drafts = [*ended("a", "a", "", "…", "b"), *cut_off("no end", "nor here", "An end. Then")]
    texts, left_out = screen(drafts, prompt="", count=16)
    assert texts == ["a", "b", "An end."]
    assert left_out == {"said twice": 1, "empty": 2, "cut off": 2}


def test_what_was_cut_off_fills_up_only_what_is_missing() -> None:
    drafts = [*cut_off("we went to the"), *ended("It rains.")]
    assert screen(drafts, prompt="", count=1, accept_cut_off=True) == (["It rains."], {"cut off": 1})
    assert screen(drafts, prompt="", count=2, accept_cut_off=True) == (["It rains.", "we went to…"], {})


def test_no_drafts_make_no_posts() -> None:
    assert screen([], prompt="x", count=3) == ([], {})
