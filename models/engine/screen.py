"""Which drafts are fit to be seen: each check names what it leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import regex

_EMOJI = r"\p{Extended_Pictographic}\p{Emoji_Modifier}\p{Regional_Indicator}\uFE0F\u200D\u20E3"
# A full stop within a number or a domain name ends nothing; closing brackets, quotes and emoji belong to the end.
_SENTENCE_END = regex.compile(rf"(?:[!?…。！？]|\.(?![\p{{L}}\p{{N}}]))(?:[\"'\p{{Pe}}\p{{Pf}}{_EMOJI}]|\s)*")
_SAYS_SOMETHING = regex.compile(r"[\p{L}\p{N}\p{Extended_Pictographic}\p{Regional_Indicator}]")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A generated continuation of the prompt. `ended` tells whether the model itself brought it to an end."""

    text: str
    ended: bool


def screen(
    drafts: Sequence[Draft], *, prompt: str, count: int, accept_cut_off: bool = False
) -> tuple[list[str], dict[str, int]]:
    """At most `count` whole posts out of the drafts, in their order, and how many were left out, by reason.

    A draft that ran out of tokens is cut back to its last sentence end. If nothing is left then, it is left out; only
    with `accept_cut_off` it may fill up what is missing at the end, cut at a word and with an ellipsis.
    """
    kept: list[str] = []
    cut_off: list[str] = []
    left_out: Counter[str] = Counter()

    def keep(text: str) -> None:
        post = (prompt + text).strip()
        if not _SAYS_SOMETHING.search(text):
            left_out["empty"] += 1
        elif post in kept:
            left_out["said twice"] += 1
        else:
            kept.append(post)

    for draft in drafts:
        text = draft.text.rstrip() if draft.ended else _up_to_last_sentence(draft.text)
        if text or draft.ended:
            keep(text)
        else:
            cut_off.append(draft.text)
    while accept_cut_off and cut_off and len(kept) < count:
        keep(_up_to_last_word(cut_off.pop(0)))
    left_out["cut off"] += len(cut_off)
    return kept[:count], dict(+left_out)


def _up_to_last_sentence(text: str) -> str:
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]].rstrip() if ends else ""


def _up_to_last_word(text: str) -> str:
    words = text.rpartition(" ")[0] or text
    return f"{words.rstrip(' ,;:-')}…" if words.strip() else ""
