"""Which drafts are fit to be seen: each check names what it leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import regex

_SENTENCE_END = regex.compile(r"[.!?…。！？](?:[\"'”’)\]]|\p{Extended_Pictographic}|\uFE0F|\u200D|\s)*")
_SAYS_SOMETHING = regex.compile(r"[\p{L}\p{N}\p{Extended_Pictographic}]")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A generated continuation of the prompt. `ended` tells whether the model itself brought it to an end."""

    text: str
    ended: bool


def screen(drafts: Sequence[Draft], *, prompt: str, count: int) -> tuple[list[str], dict[str, int]]:
    """At most `count` whole posts out of the drafts, in their order, and how many were left out, by reason.

    A draft that ran out of tokens is cut back to its last sentence end; if nothing is left then, it is left out.
    """
    kept: list[str] = []
    seen: set[str] = set()
    left_out: Counter[str] = Counter()
    for draft in drafts:
        text = draft.text.rstrip()
        if not draft.ended:
            text = _up_to_last_sentence(text)
            if not text:
                left_out["cut off"] += 1
                continue
        if not _SAYS_SOMETHING.search(text):
            left_out["empty"] += 1
            continue
        post = (prompt + text).strip()
        if post in seen:
            left_out["said twice"] += 1
            continue
        seen.add(post)
        kept.append(post)
    return kept[:count], dict(left_out)


def _up_to_last_sentence(text: str) -> str:
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]].rstrip() if ends else ""
