"""The quoted format: what is context, what is target, and how a prompt is continued."""

from __future__ import annotations

import pytest

from models.text import DEFAULT_FORMAT, QuotedFormat, TrainingText, text_format

quoted = QuotedFormat()


@pytest.mark.parametrize("answers", [None, "", "  \n\t "])
def test_a_post_that_answers_nothing_has_no_context(answers: str | None) -> None:
    assert quoted.sequence("hello", answers) == TrainingText(context="", target="hello")
    assert quoted.opening("hel", [answers] if answers else []) == "hel"


@pytest.mark.parametrize(
    "answers",
    ["how are\nyou?", "how\r\nare\r\n\r\nyou?", "  how are you?\n", "how\u2028are\u0085you?", "how\x0bare\x0cyou?"],
)
def test_an_answered_text_is_quoted_on_one_line(answers: str) -> None:
    sequence = quoted.sequence("fine", answers)
    assert sequence.context == "> how are you?\n"
    assert len(sequence.context.splitlines()) == 1


def test_the_post_itself_is_the_target_as_it_is() -> None:
    post = "  two\nlines > and a mark \n"
    assert quoted.sequence(post, "what?").target == post


def test_a_prompt_is_opened_as_it_was_trained() -> None:
    sequence = quoted.sequence("fine, thanks", "how are\nyou?")
    assert (sequence.context + sequence.target).startswith(quoted.opening("fine,", ["how are\nyou?"]))
    assert quoted.opening("", ["how are\nyou?"]) == sequence.context


def test_what_led_up_to_a_post_is_quoted_line_by_line_oldest_first() -> None:
    opening = quoted.opening("fine", ["hello", " ", "how are\nyou?"])
    assert opening == "> hello\n> how are you?\nfine"


def test_a_format_is_found_by_its_name() -> None:
    assert text_format("quoted-1") is DEFAULT_FORMAT
    assert DEFAULT_FORMAT.name == "quoted-1"


def test_an_unknown_format_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        text_format("quoted-2")
