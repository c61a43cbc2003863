"""Cleaned posts to batches of token ids: split by seed, weighted by account, without padding waste."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from models.engine.loading import token_ids
from models.records import DatasetRow
from models.text import TextFormat

IGNORED = -100  # label of positions that carry no loss, as torch's cross-entropy has it
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


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Examples of like length, padded on the right to (B, T)."""

    ids: Tensor  # (B, T) int64
    labels: Tensor  # (B, T) int64, already shifted: labels[:, t] is what follows ids[:, t]
    label_tokens: int
    target_bytes: int


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


def plan_epoch(examples: Sequence[Example], *, batch_tokens: int, rng: random.Random) -> list[list[int]]:
    """Batches of example numbers, each of at most `batch_tokens` ids padding included, in random order.

    Neighbours in length share a batch; ties and the order of batches are random, so no two epochs are alike.
    """
    order = sorted(range(len(examples)), key=lambda i: (len(examples[i].ids), rng.random()))
    batches: list[list[int]] = [[]]
    for i in order:
        if batches[-1] and len(examples[i].ids) * (len(batches[-1]) + 1) > batch_tokens:
            batches.append([])
        batches[-1].append(i)
    rng.shuffle(batches)
    return batches


def collate(examples: Sequence[Example], *, pad_id: int) -> Batch:
    """The examples as one batch. Right padding needs no attention mask: causal attention never looks there."""
    width = max(len(e.ids) for e in examples) - 1
    ids = torch.full((len(examples), width), pad_id)
    labels = torch.full((len(examples), width), IGNORED)
    for row, example in enumerate(examples):
        sequence = torch.tensor(example.ids)
        ids[row, : len(sequence) - 1] = sequence[:-1]
        labels[row, example.context_tokens - 1 : len(sequence) - 1] = sequence[example.context_tokens :]
    return Batch(
        ids=ids,
        labels=labels,
        label_tokens=sum(e.label_tokens for e in examples),
        target_bytes=sum(e.target_bytes for e in examples),
    )
