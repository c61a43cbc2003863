"""The pre-training text: named corpora to documents, in the text format that fine-tuning and serving use."""

from __future__ import annotations

import hashlib
import lzma
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import regex

from models.text import DEFAULT_FORMAT

HELD_OUT_ONE_IN = 400  # documents; chosen by hash, so every repetition of a line is on the same side

# What we would not want a bot to say. The corpora's own filter took the common slurs; this takes sexual and
# abusive lines of the chat logs.
_UNWANTED = regex.compile(
    r"\b(?:fuck\w*|motherf\w*|cunt\w*|bitch\w*|whore\w*|sluts?|porn\w*|nude|naked|horny|dildo\w*|blowjob\w*|"
    r"penis\w*|vagina\w*|rap(?:e|ed|ist|ing)|kill (?:your|my)self|suicid\w*|retard\w*|nazis?|hitler)\b",
    regex.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """One named corpus of the mix. `size_bytes` is how much of it the mix takes; more than there is repeats it."""

    name: str
    file: str
    sha256: str
    licence: str
    what: str
    size_bytes: int
    dialogue_lines: tuple[tuple[int, int], ...] = ()  # half-open line ranges in which neighbours answer each other


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document of the mix as model text, with the corpus that it came from."""

    corpus: str
    text: str


def read_lines(corpus: Corpus, folder: Path) -> list[str]:
    """The lines of a corpus; ValueError if the file is not the one that the config names."""
    path = folder / corpus.file
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != corpus.sha256:
        raise ValueError(f"{path}: SHA-256 is {digest}, the config names {corpus.sha256}")
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return file.read().split("\n")


def is_held_out(line: str) -> bool:
    """Whether the line belongs to the held-out part, the same for every repetition of it."""
    digest = hashlib.blake2b(line.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % HELD_OUT_ONE_IN == 0


def documents(corpus: Corpus, lines: list[str], *, held_out: bool, rng: random.Random) -> Iterator[Document]:
    """The documents of one side of the split: in order for the held-out side, else shuffled and repeated to size.

    In dialogue ranges every other document carries the line before it as the text that it answers.
    """
    in_dialogue = [False] * len(lines)
    for start, stop in corpus.dialogue_lines:
        in_dialogue[start:stop] = [True] * (min(stop, len(lines)) - start)
    wanted = [
        i
        for i, line in enumerate(lines)
        if line.strip() and not _UNWANTED.search(line) and is_held_out(line) == held_out
    ]
    taken_bytes = 0
    while wanted and taken_bytes < corpus.size_bytes:
        if not held_out:
            rng.shuffle(wanted)
        for i in wanted:
            answers = lines[i - 1] if i and in_dialogue[i] and in_dialogue[i - 1] and rng.random() < 0.5 else None
            if answers and _UNWANTED.search(answers):
                answers = None
            parts = DEFAULT_FORMAT.sequence(lines[i], answers)
            text = parts.context + parts.target
            taken_bytes += len(text.encode())
            yield Document(corpus=corpus.name, text=text)
            if taken_bytes >= corpus.size_bytes and not held_out:
                break
        if held_out:
            break
