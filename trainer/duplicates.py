"""Which posts of an account say again what another said: word for word, nearly so, or after one template.

Near duplicates are found by the sorted-neighbourhood method (Hernández & Stolfo, “The merge/purge problem for large
databases”, SIGMOD 1995): the texts are sorted twice, from their beginnings and from their ends, and each is compared
with its next few only, so that 100,000 posts take seconds.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

import regex
from rapidfuzz import fuzz

REPEATED, MUCH_ALIKE, OF_ONE_TEMPLATE = "repeated", "much alike", "of one template"
ALIKE = 90  # rapidfuzz's ratio, 0-100, from which on two texts are one
NEIGHBOURS = 5  # texts after it, in each of the two orders, that one is compared with
MAX_COMPARED = 500  # characters of a text that are compared: the time grows with the square
MIN_KEY = 12  # characters; of shorter ones (posts of numbers, of tags) the whole text is compared
EDGE = 24  # characters at the beginning or the end of posts that show a template
TEMPLATE_POSTS, TEMPLATE_SHARE = 25, 0.05  # as many posts of one template are learned, whichever is more

_VARIABLE = regex.compile(r"https?:\S+|[@#]\w+(?:[.@-]\w+)*+|\p{N}+")
_QUOTED = regex.compile(r"“[^“”]{1,300}”|«[^«»]{1,300}»|「[^「」]{1,300}」|\"[^\"]{1,300}\"")


def find_repeats(texts: Sequence[str]) -> dict[int, str]:
    """The numbers of the texts to leave out, each with its reason. Of what is alike the first in order stays."""
    left_out: dict[int, str] = {}
    first: dict[str, int] = {}
    for number, text in enumerate(texts):
        if first.setdefault(unicodedata.normalize("NFKC", text.casefold()), number) != number:
            left_out[number] = REPEATED
    keys = {number: (key, _comparable(key)) for key, number in first.items()}
    templates = _over_the_cap({number: key for number, (key, _) in keys.items()}, posts=len(texts))
    left_out.update(dict.fromkeys(templates, OF_ONE_TEMPLATE))
    left_out.update(dict.fromkeys(_much_alike({n: k for n, (_, k) in keys.items() if n not in templates}), MUCH_ALIKE))
    return left_out


def _comparable(key: str) -> str:
    """What two texts have to share: no numbers, links, or names."""
    bare = " ".join(_VARIABLE.sub(" ", key).split())
    return (bare if len(bare) >= MIN_KEY else key)[:MAX_COMPARED]


def _much_alike(keys: dict[int, str]) -> set[int]:
    """The numbers of the texts that are much like an earlier one that stays."""
    earlier: dict[int, set[int]] = defaultdict(set)
    for order in (sorted(keys, key=lambda n: (keys[n], n)), sorted(keys, key=lambda n: (keys[n][::-1], n))):
        for place, one in enumerate(order):
            for other in order[place + 1 : place + 1 + NEIGHBOURS]:
                if fuzz.ratio(keys[one], keys[other], score_cutoff=ALIKE):
                    earlier[max(one, other)].add(min(one, other))
    gone: set[int] = set()
    for number in sorted(earlier):
        if earlier[number] - gone:
            gone.add(number)
    return gone


def _over_the_cap(keys: dict[int, str], *, posts: int) -> set[int]:
    """The numbers of the texts that begin or end as very many do, beyond the first of them that the cap lets in."""
    cap = max(TEMPLATE_POSTS, int(TEMPLATE_SHARE * posts))
    if len(keys) <= cap:
        return set()
    edges = {number: _edges(key) for number, key in keys.items()}
    counted = Counter(edge for pair in edges.values() for edge in pair)
    templates = {edge for edge, count in counted.items() if count > cap}
    taken: Counter[str] = Counter()
    over: set[int] = set()
    for number in sorted(keys):
        of = [edge for edge in edges[number] if edge in templates]
        if any(taken[edge] >= cap for edge in of):
            over.add(number)
        else:
            taken.update(of)
    return over


def _edges(key: str) -> list[str]:
    """The two edges of a text without what changes in a template; none if it is too short to have any."""
    skeleton = " ".join(_VARIABLE.sub(" ", _QUOTED.sub(" ", key)).split())
    return [f"{skeleton[:EDGE]}…", f"…{skeleton[-EDGE:]}"] if len(skeleton) >= EDGE else []
