"""Personal data out of a text: e-mail addresses and telephone numbers, each made one `…`."""

from __future__ import annotations

import regex
from phonenumbers import Leniency, PhoneNumberMatcher

MASK = "…"
# Whose national spelling is known, `(415) 555-2671`; a number written `+49 …` is known wherever it is from.
REGIONS = ("US", "GB", "DE", "FR", "JP", "IN", "BR")
MIN_PHONE_DIGITS = 7  # the shortest subscriber numbers, ITU-T E.164 allows at most 15 with the country code
MAX_DIGITS = 300  # in number runs of one text; the library takes about 2 ms for ten digits in all regions
_CONTEXT = 8  # characters around a run: a letter or a currency sign before it tells that it is no telephone number

# Not after another @: @name@server is a Mastodon handle. ASCII, so that glued text stays; bounded or possessive, so
# that no text takes long.
_EMAIL = regex.compile(r"(?<![A-Za-z0-9._%+@-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++")
# Digits with at most three signs between two of them, none of which is one that stands inside prices and times; no tag.
_RUN = regex.compile(rf"(?<![\d#\uff03_=])\d(?:[^\p{{L}}\p{{N}},:%$€£¥#@_\n]{{0,3}}+\d){{{MIN_PHONE_DIGITS - 1},}}+")
_DIGIT = regex.compile(r"\d")
# Without any separator: a trunk 0, or ten digits as in North America and India, but no year in front (2017101112).
_BARE = regex.compile(r"0\d{8,10}|(?!20[0-3])[2-9]\d{9}")
# Decimal numbers, dates, and sizes (whose x the library takes for "extension").
_OTHER = regex.compile(
    r"\W*+\d+\.\d+\W*|.*\dx\d.*"
    r"|(?:\d{1,2}[./-]\d{1,2}[./-](?:19|20)\d\d|(?:19|20)\d\d[./-]\d{1,2}[./-]\d{1,2})(?:\D.*)?"
)


def mask_personal(text: str) -> str:
    """The text with `…` for e-mail addresses and telephone numbers; never longer, and itself again if asked twice."""
    text = _EMAIL.sub(MASK, text)
    runs = [match.span() for match in _RUN.finditer(text)]
    if not runs:
        return text
    if sum(len(_DIGIT.findall(text, start, end)) for start, end in runs) > MAX_DIGITS:
        spans = runs  # a directory: whatever looks like a number goes
    else:
        spans = [span for start, end in runs for span in _phones(text, start, end)]
    for start, end in reversed(_merged(spans)):
        text = text[:start] + MASK + text[end:]
    return text


def _phones(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Where telephone numbers are in a run of digits."""
    first = max(0, start - _CONTEXT)
    window = text[first : end + _CONTEXT]
    found = [(m.start, m.end) for m in PhoneNumberMatcher(window, None, Leniency.VALID)]
    for region in REGIONS:
        for m in PhoneNumberMatcher(window, region, Leniency.STRICT_GROUPING):
            if m.raw_string.startswith("+") or _is_national(m.raw_string):
                found.append((m.start, m.end))
    return [(first + a, first + b) for a, b in found]


def _is_national(written: str) -> bool:
    if len(_DIGIT.findall(written)) < MIN_PHONE_DIGITS:  # the library takes a short code, `(1691`, too
        return False
    if written.isdecimal():
        return _BARE.fullmatch(written) is not None
    return _OTHER.fullmatch(written) is None


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in order, overlapping ones made one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
