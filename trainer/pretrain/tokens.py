"""Tokenizer and token streams of the built-in base: documents to packed arrays of ids, and those to rows."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from models.text import END_OF_TEXT

PAD = "<|pad|>"
BLOCK_TOKENS = 2**21  # documents are drawn and shuffled this many tokens at a time


class Packed(NamedTuple):
    """Documents end to end, each led by an end-of-text token; document i is ids[starts[i]:starts[i + 1]]."""

    ids: np.ndarray  # (tokens,) uint16
    starts: np.ndarray  # (documents + 1,) int64


def train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: writes any text, ids 0 and 1 are end of text and padding."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    )


def pack(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> Packed:
    """The texts as ids."""
    end = tokenizer.eos_token_id
    parts: list[np.ndarray] = []
    for batch in _batches(texts, 4096):
        for encoding in tokenizer.backend_tokenizer.encode_batch(batch, add_special_tokens=False):
            parts.append(np.array([end, *encoding.ids], dtype=np.uint16))
    return Packed(np.concatenate(parts), np.cumsum([0, *map(len, parts)]))


def sample_texts(texts: Sequence[str], *, size_bytes: int, rng: random.Random) -> Iterator[str]:
    """Texts at random, about `size_bytes` of them in all, or all of them."""
    taken = 0
    for i in rng.sample(range(len(texts)), len(texts)):
        if taken >= size_bytes:
            return
        yield texts[i]
        taken += len(texts[i].encode())


def save(folder: Path, name: str, packed: Packed) -> None:
    """Write the arrays so that they are there whole or not at all."""
    for kind, array in (("starts", packed.starts), ("ids", packed.ids)):  # ids last: their presence means complete
        part = folder / f"{name}.part.npy"
        np.save(part, array)
        part.replace(folder / f"{name}.{kind}.npy")


def load(folder: Path, name: str) -> Packed | None:
    """What was saved under that name, if anything."""
    if not (folder / f"{name}.ids.npy").exists():
        return None
    return Packed(np.load(folder / f"{name}.ids.npy", mmap_mode="r"), np.load(folder / f"{name}.starts.npy"))


class Mixer:
    """Endless blocks of documents: each part's in its share of the tokens, every one before any comes again.

    A phase goes on where the one before it stopped.
    """

    def __init__(self, parts: dict[str, Packed], *, seed: int) -> None:
        self._parts, self._seed = parts, seed
        self._drawn = dict.fromkeys(parts, 0)  # documents, over all passes
        self._orders: dict[tuple[str, int], np.ndarray] = {}

    def block(self, shares: dict[str, float], number: int) -> np.ndarray:
        """About BLOCK_TOKENS ids of whole documents in random order."""
        total = sum(shares.values())
        documents: list[np.ndarray] = []
        for name, share in shares.items():
            ids, starts = self._parts[name]
            wanted = BLOCK_TOKENS * share / total
            while wanted > 0:
                i = self._next(name)
                documents.append(ids[starts[i] : starts[i + 1]])
                wanted -= starts[i + 1] - starts[i]
        order = np.random.default_rng([self._seed, number]).permutation(len(documents))
        return np.concatenate([documents[i] for i in order])

    def passes(self) -> dict[str, float]:
        """How often each part was gone through so far."""
        return {name: round(self._drawn[name] / (len(p.starts) - 1), 2) for name, p in self._parts.items()}

    def _next(self, name: str) -> int:
        count = len(self._parts[name].starts) - 1
        done, place = divmod(self._drawn[name], count)
        self._drawn[name] += 1
        if (name, done) not in self._orders:
            self._orders = {key: order for key, order in self._orders.items() if key[0] != name}
            seed = [self._seed, *name.encode(), done]
            self._orders[name, done] = np.random.default_rng(seed).permutation(count)
        return int(self._orders[name, done][place])


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
