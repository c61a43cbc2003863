"""Cleaned posts to rows of token ids: split by seed, weighted by account, without padding waste."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from models.engine.loading import token_ids
from models.records import DatasetRow
from models.text import TextFormat
from trainer.step import IGNORED, Batch

MIN_ROW = 128  # tokens
OPEN_ROWS = 64  # in which room is looked for
MIN_HELD_OUT, MAX_HELD_OUT = 10, 300  # posts


@dataclass(frozen=True, kw_only=True)
class Example:
    """One post as ids: end-of-text, context, target, end-of-text. The loss begins after `context_tokens` ids."""

    ids: tuple[int, ...]
    context_tokens: int
    target_bytes: int

    @property
    def label_tokens(self) -> int:
        return len(self.ids) - self.context_tokens

    @property
    def row_tokens(self) -> int:
        """How much of a row it takes: nothing follows its last id."""
        return len(self.ids) - 1


def split(rows: Sequence[DatasetRow], *, fraction: float, seed: int) -> tuple[list[DatasetRow], list[DatasetRow]]:
    """(training rows, held-out rows): chosen by a hash of seed and id, so that a resumed run splits alike."""

    def rank(row: DatasetRow) -> bytes:
        return hashlib.blake2b(f"{seed}/{row.handle}/{row.id}".encode(), digest_size=8).digest()

    ranked = sorted(rows, key=rank)
    size = min(max(int(len(rows) * fraction), MIN_HELD_OUT), MAX_HELD_OUT, len(rows) // 2)
    held_out = {id(row) for row in ranked[:size]}
    return [r for r in rows if id(r) not in held_out], [r for r in rows if id(r) in held_out]


def balance(rows: Sequence[DatasetRow]) -> list[DatasetRow]:
    """The rows with each account's repeated up to the size of the largest, so that all weigh the same."""
    by_handle: dict[str, list[DatasetRow]] = defaultdict(list)
    for row in rows:
        by_handle[row.handle].append(row)
    largest = max(map(len, by_handle.values()))
    return [own[i % len(own)] for own in by_handle.values() for i in range(largest)]


def encode(
    rows: Sequence[DatasetRow], tokenizer: PreTrainedTokenizerBase, style: TextFormat, *, max_tokens: int
) -> list[Example]:
    """One example a row. A text over `max_tokens` loses its end (and its end-of-text), a context its beginning.

    Line breaks become spaces where the tokenizer has no token for them.
    """
    end = tokenizer.eos_token_id
    keeps_lines = "\n" in tokenizer.decode(token_ids(tokenizer, "a\nb"))
    examples = []
    for row in rows:
        text = row.text if keeps_lines else " ".join(row.text.split())
        sequence = style.sequence(text, row.answers)
        whole = token_ids(tokenizer, sequence.target)
        target = whole[:max_tokens]
        context = token_ids(tokenizer, sequence.context) if sequence.context else []
        context = [end, *context[-max(0, max_tokens - len(target)) :]] if len(target) < max_tokens else [end]
        ending = [end] if len(target) == len(whole) else []
        size = len((sequence.target if ending else tokenizer.decode(target)).encode())
        examples.append(Example(ids=(*context, *target, *ending), context_tokens=len(context), target_bytes=size))
    return examples


def row_width(examples: Sequence[Example], *, shared: bool) -> int:
    """Tokens of a row that has room for the longest example; if examples share it a power of two, MIN_ROW at least."""
    longest = max(example.row_tokens for example in examples)
    return max(MIN_ROW, 1 << (longest - 1).bit_length()) if shared else longest


def plan_epoch(examples: Sequence[Example], *, width: int, shared: bool, rng: random.Random) -> list[list[int]]:
    """Rows of at most `width` tokens as example numbers; each example is in one row, and the order is random.

    First fit among the rows that are still open: with posts in rows several times as long next to nothing is padding.
    Unless rows are `shared`: then each example has one to itself.
    """
    order = rng.sample(range(len(examples)), len(examples))
    if not shared:
        return [[i] for i in order]
    rows: list[list[int]] = []
    room: dict[int, int] = {}  # of the open rows, by row, oldest first
    for i in order:
        size = examples[i].row_tokens
        row = next((row for row, left in room.items() if left >= size), None)
        if row is None:
            row = len(rows)
            rows.append([])
            room[row] = width
            if len(room) > OPEN_ROWS:
                del room[next(iter(room))]
        rows[row].append(i)
        room[row] -= size
    rng.shuffle(rows)
    return rows


def collate(rows: Sequence[Sequence[Example]], *, width: int, height: int, pad_id: int) -> Batch:
    """At most `height` rows of examples as one batch of just so many rows, so that all batches have one shape."""
    ids = torch.full((height, width), pad_id)
    labels = torch.full((height, width), IGNORED)
    documents = torch.arange(width).repeat(height, 1) + width  # padding: each token by itself, at position 0
    for place, row in enumerate(rows):
        start = 0
        for number, example in enumerate(row, 1):
            sequence = torch.tensor(example.ids)
            stop = start + example.row_tokens
            ids[place, start:stop] = sequence[:-1]
            labels[place, start + example.context_tokens - 1 : stop] = sequence[example.context_tokens :]
            documents[place, start:stop] = number
            start = stop
    return Batch(ids=ids, labels=labels, documents=documents)
