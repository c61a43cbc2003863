"""Text formats: the one place that turns posts into training text and a prompt into model input.

A model's manifest stores the name of its format, so that a model is always served as it was trained.
A format adds no special tokens: it works with any base that has an end-of-text token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True, kw_only=True)
class TrainingText:
    """One training sequence as text. The loss is on `target` and the end of text, never on `context`."""

    context: str
    target: str


class TextFormat(Protocol):
    """How posts become training text, and a prompt becomes the beginning of one."""

    name: str

    def sequence(self, text: str, answers: str | None = None) -> TrainingText:
        """The training sequence of a post; `answers` is the text that it replies to, if known."""
        ...

    def opening(self, prompt: str, answers: Sequence[str] = ()) -> str:
        """The text that the model is to continue (without the leading end-of-text token).

        `answers` are the texts that led up to it, oldest first; the last one is the one to reply to.
        """
        ...


class QuotedFormat:
    """One post between end-of-text tokens; an answered text stands before it as a quoted line.

    The quote is `> text` on one line, as in mail and chat, so that a base that has read any of either knows
    what it means.
    """

    name = "quoted-1"

    def sequence(self, text: str, answers: str | None = None) -> TrainingText:
        return TrainingText(context=self._quote(answers), target=text)

    def opening(self, prompt: str, answers: Sequence[str] = ()) -> str:
        return "".join(map(self._quote, answers)) + prompt

    @staticmethod
    def _quote(answers: str | None) -> str:
        return f"> {' '.join(answers.split())}\n" if answers and answers.strip() else ""


DEFAULT_FORMAT: TextFormat = QuotedFormat()
_FORMATS: dict[str, TextFormat] = {DEFAULT_FORMAT.name: DEFAULT_FORMAT}


def text_format(name: str) -> TextFormat:
    """The format of that name; KeyError if this version does not know it."""
    return _FORMATS[name]
