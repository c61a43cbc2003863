"""JSON arrays of any length, entry by entry, in memory for one entry.

Entries are decoded from a window of text with the standard library's scanner: ijson 3.6.0's C backend was tried and
crashed the process (segmentation fault) on a 6,000-digit integer and on 100,000 nested brackets.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator

from models.errors import Unreadable

MAX_ENTRY_CHARS = 1 << 20  # a post of X is about 3 KB
MAX_PREFIX_CHARS = 1000  # before the array

_START = re.compile(rf"\s*+(?:[^=\[]{{0,{MAX_PREFIX_CHARS}}}=\s*+)?\[")  # possessive: blanks can be many
_GAP = re.compile(r"[\s,]*")
_NUMBER_END = re.compile(r"[\s,\]]")
_DECODER = json.JSONDecoder()
_AGAIN = "Download it again and attach the file as it came."


def texts(chunks: Iterable[bytes], name: str) -> Iterator[str]:
    """The text in those bytes, which are UTF-8 with or without a byte order mark; Unreadable if they are not."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        for chunk in chunks:
            if text := decoder.decode(chunk):
                yield text
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as exc:
        raise Unreadable(name, "it is not UTF-8 text. Attach the file as it came, not re-saved.") from exc


def entries(texts: Iterable[str], name: str, longest: int = MAX_ENTRY_CHARS) -> Iterator[object]:
    """The entries of the array, which may follow a `something =`; what comes after it is not looked at.

    Unreadable if the text is empty, no such array, cut off, damaged, or nested too deep; and if an entry is longer
    than `longest` characters.
    """
    more = iter(texts)
    window = _grown("", more, MAX_PREFIX_CHARS + 1)
    if not window.strip():
        raise Unreadable(name, f"it is empty. {_AGAIN}")
    start = _START.match(window)
    if start is None:
        raise Unreadable(name, f"there is no list of posts in it ([ … ]). {_AGAIN}")
    at, count = start.end(), 0
    while True:
        gap = _GAP.match(window, at)
        at = gap.end() if gap else at
        if window.startswith("]", at):
            return
        try:
            entry, end = _DECODER.raw_decode(window, at)
            is_whole = not isinstance(entry, int | float) or _NUMBER_END.match(window, end) is not None
        except json.JSONDecodeError:  # no JSON, or the rest of the entry is in what comes next
            is_whole = False
        except RecursionError as exc:
            raise Unreadable(name, f"entry {count + 1} is nested deeper than any post. {_AGAIN}") from exc
        except ValueError as exc:  # an integer of thousands of digits
            raise Unreadable(name, f"it is damaged after {count} entries. {_AGAIN}") from exc
        if is_whole:
            at, count = end, count + 1
            yield entry
            continue
        # Twice as much for the next try: an entry in many pieces is not looked at once for each.
        rest = window[at:]
        window = _grown(rest, more, 2 * len(rest)) if len(rest) <= longest else rest
        if len(window) == len(rest):
            raise Unreadable(name, f"it is cut off or damaged after {count} entries. {_AGAIN}")
        at = 0


def _grown(window: str, more: Iterator[str], size: int) -> str:
    """The window with what comes next: at least `size` characters, or all that there is."""
    pieces, length = [window], len(window)
    while length <= size and (piece := next(more, "")):
        pieces.append(piece)
        length += len(piece)
    return "".join(pieces)
