"""In which languages an account writes: as its platform tags the posts, else as py3langid judges them as a whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

MIN_TAGGED = 0.5  # of the posts; with fewer, the tags don't speak for the account
MIN_SHARE = 0.1  # of the tagged posts, for a language to be named
SAMPLE_CHARACTERS = 20_000  # that py3langid is shown

_LANGUAGE = re.compile(r"([a-z]{2,3})(?:[-_].*)?", re.DOTALL)
_PRIVATE = re.compile(r"q[a-t][a-z]")  # ISO 639-2's private use: X's qam, qct, qht, qme, qst are mentions, tags, media
_NONE = frozenset({"und", "zxx", "mul", "mis", "art"})
_OLD = {"in": "id", "iw": "he", "ji": "yi"}  # ISO 639-1 codes of before 1989, which X writes


def main_languages(posts: Sequence[tuple[str | None, str]]) -> tuple[str, ...]:
    """ISO codes of (tag, cleaned text) pairs, most frequent first; each has a tenth of the tagged posts at least."""
    tags = Counter(code for tag, _ in posts if (code := language_code(tag)))
    tagged = tags.total()
    if tagged and tagged >= MIN_TAGGED * len(posts):
        return tuple(code for code, count in tags.most_common() if count >= MIN_SHARE * tagged)
    return _judged([text for _, text in posts])


def language_code(tag: str | None) -> str | None:
    """The language of a platform's tag (`pt-BR` -> `pt`, `iw` -> `he`); None if it names none."""
    match = _LANGUAGE.fullmatch(tag.strip().lower()) if tag else None
    if match is None or match[1] in _NONE or _PRIVATE.fullmatch(match[1]):
        return None
    return _OLD.get(match[1], match[1])


def _judged(texts: Sequence[str]) -> tuple[str, ...]:
    """The language of the texts as a whole: single posts are too short to tell."""
    sample = "\n".join(_spread(texts))
    if not any(map(str.isalpha, sample)):
        return ()
    import py3langid  # half a second with its model, which only an account without tags costs

    code, _ = py3langid.classify(sample)
    return (str(code),)


def _spread(texts: Sequence[str]) -> list[str]:
    """Texts from all over the account, of SAMPLE_CHARACTERS together."""
    total = sum(len(text) + 1 for text in texts)
    step = max(1, -(-total // SAMPLE_CHARACTERS))
    room = SAMPLE_CHARACTERS
    sample = []
    for text in texts[::step]:
        sample.append(text[:room])
        room -= len(sample[-1]) + 1
        if room <= 0:
            break
    return sample
