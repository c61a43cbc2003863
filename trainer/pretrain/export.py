"""The finished base as files: bf16 weights, tokenizer, and a card that says what it was made from."""

from __future__ import annotations

from pathlib import Path

import torch
from msgspec import Struct
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from models.files import write_atomically, write_json
from trainer.pretrain.corpus import Corpus

_CARD = """---
license: cc-by-sa-4.0
library_name: transformers
pipeline_tag: text-generation
---

# Mockingbird's built-in base

A causal language model of {parameters:,} parameters (Llama-shaped, tied embeddings, byte-level BPE of {vocabulary:,}
entries: it reads and writes any script and emoji), made to be fine-tuned on one account's short posts on two CPU cores.
By itself it babbles recognisable English, and knows nothing.

## What it was trained on

Openly licensed text only, no posts of private people. Lines with sexual or abusive words were left out. Half of the
dialogue lines carry the line before as the text that they answer, in the format `quoted-1` (`> what was said`, a new
line, the answer).

| corpus | what | licence | bytes taken | SHA-256 |
|---|---|---|---|---|
{corpora}

## How

{tokens:,} tokens in {steps:,} steps and {duration} on {hardware}, torch {torch}, Muon for the matrices and AdamW for
the rest, warm-up, stable and linear decay. `trainer/pretrain/config.toml` has every number, and
`python -m trainer pretrain` does it again.

Held-out bits per byte (every 400th document, by hash, never trained on): {figures}.

## Licence

The corpora under CC BY-SA make CC BY-SA 4.0 the careful choice for the weights.
"""


class BaseRecord(Struct, frozen=True, kw_only=True):
    """`pretrain.json`: what was measured."""

    parameters: int
    tokens: int
    steps: int
    seconds: int
    held_out_bits_per_byte: dict[str, float]
    hardware: str
    torch: str
    corpora: tuple[Corpus, ...]


def export(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, record: BaseRecord, folder: Path) -> Path:
    """Write the base into the folder, which transformers can load then; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(folder / "pretrain.json", record)
    write_atomically(folder / "README.md", _card(record, len(tokenizer)).encode())
    return folder


def _card(record: BaseRecord, vocabulary: int) -> str:
    corpora = "\n".join(
        f"| {c.name} | {c.what} | {c.licence} | {c.size_bytes:,} | `{c.sha256[:16]}…` |" for c in record.corpora
    )
    figures = ", ".join(f"{name} **{value:.3f}**" for name, value in record.held_out_bits_per_byte.items())
    return _CARD.format(
        parameters=record.parameters,
        vocabulary=vocabulary,
        corpora=corpora,
        tokens=record.tokens,
        steps=record.steps,
        duration=f"{record.seconds // 60} minutes",
        hardware=record.hardware,
        torch=record.torch,
        figures=figures,
    )
