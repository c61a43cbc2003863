"""The pre-training text: named corpora to documents, in the text format that fine-tuning and serving use."""

from __future__ import annotations

import hashlib
import lzma
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import regex

from models.records import Post
from models.text import DEFAULT_FORMAT
from trainer.clean import GARBLED, clean_text
from trainer.pretrain.config import Corpus, Part

HELD_OUT_ONE_IN = 400  # lines; chosen by hash, so every repetition of a line is on the same side
MAX_QUOTES = 3  # texts before an answer
QUOTES = (0.3, 0.4, 0.2, 0.1)  # how often a line of a dialogue carries 0, 1, 2, 3 of the lines before it

# What we would not want a bot to say. The corpora's own filter took the common slurs; this takes sexual, abusive and
# gloomy lines of the chat logs, and what novels of the nineteenth century called people.
_UNWANTED = regex.compile(
    r"\b(?:fuck\w*|motherf\w*|shit\w*|bullshit|cunt\w*|bitch\w*|whore\w*|sluts?|bastards?|ass(?:hole)?s?|dick(?:head)?s?|"
    r"wtf|stfu|porn\w*|nude|naked|horny|dildo\w*|blowjob\w*|penis\w*|vagina\w*|sex|sexy|sexual\w*|masturbat\w*|erotic\w*|"
    r"lingerie|sadis\w*|rap(?:e|ed|es|ist|ists|ing)|incest\w*|pedophil\w*|kill (?:your|my)self|suicid\w*|retard\w*|"
    r"nazis?|hitler|holocaust|lynch\w*|nigg\w*|negro\w*|negress\w*|darkie\w*|darky|redskins?|squaws?|chinam[ae]n|"
    r"jew|jews|jewess\w*|jewish|gypsy|gypsies|savages|heathens?|half-breed\w*|faggots?)\b",
    regex.IGNORECASE,
)
# Somebody's address or number, and what a machine printed rather than a person wrote.
_NOT_TALK = regex.compile(r"[\w.]+@[\w-]+\.\w|\d[\d ().-]{7,}\d|[{}|\\=~^_]{2,}|(?:/[\w.-]+){3}|\S{40}|^[!/]\w")


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


def is_wanted(line: str) -> bool:
    """Whether the bot may learn to talk like this line."""
    return bool(line.strip()) and not _UNWANTED.search(line)


def documents(part: Part, lines: Sequence[str], *, rng: random.Random) -> Iterator[str]:
    """The part's lines as model text, each once and in order; the held-out ones are not even quoted.

    Lines of a dialogue carry up to MAX_QUOTES of the lines before them as the texts that they answer; lines of a
    chat or of posts lose what cleaning takes from an account's posts.
    """
    start, stop = part.lines or (0, len(lines))
    before: list[str] = []  # the lines that led up to this one
    for line in lines[start:stop]:
        text = clean_text(Post(id="", text=line)) if part.is_raw else line.strip()
        is_talk = is_wanted(text) and GARBLED not in text and not (part.is_raw and _NOT_TALK.search(line))
        if not is_talk or is_held_out(line):
            before.clear()
            continue
        count = rng.choices(range(MAX_QUOTES + 1), QUOTES)[0] if part.dialogue else 0
        quotes = before[len(before) - min(count, len(before)) :]
        yield DEFAULT_FORMAT.opening(text, quotes)
        before = [*before, text][-MAX_QUOTES:]


def held_out(lines: Sequence[str], *, limit: int) -> list[str]:
    """At most `limit` of a corpus's held-out lines that are wanted, from all over it."""
    found = [line.strip() for line in lines if is_held_out(line) and is_wanted(line)]
    return found[:: max(1, len(found) // limit)][:limit]
