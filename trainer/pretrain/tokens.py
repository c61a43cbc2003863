"""Tokenizer and token stream of the built-in base: documents to one packed array of ids."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from models.text import END_OF_TEXT
from trainer.pretrain.corpus import Document

PAD = "<|pad|>"


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


def pack(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> np.ndarray:
    """All texts as one array of ids, uint16, each text led by an end-of-text token."""
    end = tokenizer.eos_token_id
    parts: list[np.ndarray] = []
    for batch in _batches(texts, 4096):
        for encoding in tokenizer.backend_tokenizer.encode_batch(batch, add_special_tokens=False):
            parts.append(np.array([end, *encoding.ids], dtype=np.uint16))
    return np.concatenate(parts)


def sample_texts(documents: list[Document], *, size_bytes: int, rng: random.Random) -> Iterator[str]:
    """Documents at random, `size_bytes` of them in all."""
    taken = 0
    for i in rng.sample(range(len(documents)), len(documents)):
        yield documents[i].text
        taken += len(documents[i].text.encode())
        if taken >= size_bytes:
            return


def save_array(path: Path, array: np.ndarray) -> None:
    """Write the array so that it is there whole or not at all."""
    part = path.with_suffix(".part.npy")
    np.save(part, array)
    part.replace(path)


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
