"""The finished base as files: bf16 weights, tokenizer, and a card that says what it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import torch
from msgspec import Struct
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from models.files import write_atomically, write_json
from models.text import DEFAULT_FORMAT
from trainer.pretrain.config import PretrainConfig, SampleSettings
from trainer.pretrain.corpus import HELD_OUT_ONE_IN

SHARD_SIZE = "40MB"  # of safetensors, at most: what code hosts take without further ado

_CARD = """---
license: cc-by-sa-4.0
library_name: transformers
pipeline_tag: text-generation
language: [{languages}]
---

# Mockingbird's built-in base

A causal language model of {parameters:,} parameters ({shape}), made to be fine-tuned on one account's short posts on
two CPU cores. Its byte-level BPE of {vocabulary:,} entries reads and writes any script and emoji. By itself it talks
recognisable English about nothing, and knows nothing.

## What it was trained on

Openly licensed text only, and no posts of private people. Lines with sexual or abusive words, slurs, addresses and
numbers were left out. Lines of a dialogue carry up to three of the lines before them as the texts that they answer, in
the format `quoted-1` (`> what was said`, a new line, the answer), so that the base knows what an answer is.

| corpus | what | licence | SHA-256 |
|---|---|---|---|
{corpora}

| part | documents | tokens | {phases} | gone through |
|---|---|---|{phase_rule}---|
{parts}

## How

{tokens:,} tokens in {steps:,} steps and {duration} of computing on {hardware}, torch {torch}. Muon for the matrices and
AdamW for the rest; warm-up, stable, and linear decay on a mix with more conversation; documents share a row and don't
see each other. `trainer/pretrain/config.toml` has every number, and `python -m trainer pretrain` does it again.

## Held-out bits per byte

One line in {held_out_one_in}, chosen by its hash, was never trained on. {held_out_lines} lines at most of each corpus,
each read by itself:

| {names} |
|{rule}|
| {figures} |

## Samples

Unedited, temperature {temperature}, top-p {top_p}, the first that came. What is **bold** was given; after `>` stands
what was said to it.

{samples}

## Known faults

{faults}

## Licence

Some of the corpora are under CC BY-SA, which makes CC BY-SA 4.0 the careful choice for the weights.
"""


class Sample(Struct, frozen=True, kw_only=True):
    """What the base said: to `answers`, if that was said to it, or on from `prompt`."""

    text: str
    prompt: str = ""
    answers: str = ""


class BaseRecord(Struct, frozen=True, kw_only=True):
    """`pretrain.json`: what was made of what, and what was measured."""

    parameters: int
    tokens: int
    steps: int
    seconds: int
    passes: dict[str, float]  # how often each part was gone through
    documents: dict[str, int]  # of each part
    part_tokens: dict[str, int]
    held_out_lines: int  # of each corpus, at most
    held_out_bits_per_byte: dict[str, float]
    samples: tuple[Sample, ...]
    hardware: str
    torch: str
    config: PretrainConfig


def take_samples(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, settings: SampleSettings) -> list[Sample]:
    """What the model says at once to each of the settings' beginnings and remarks, and unprompted."""
    wanted = [
        *(Sample(text="") for _ in range(settings.unprompted)),
        *(Sample(text="", prompt=prompt) for prompt in settings.beginnings),
        *(Sample(text="", answers=remark) for remark in settings.remarks),
    ]
    torch.manual_seed(settings.seed)
    return [msgspec.structs.replace(sample, text=_say(model, tokenizer, settings, sample)) for sample in wanted]


def _say(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, settings: SampleSettings, sample: Sample) -> str:
    opening = DEFAULT_FORMAT.opening(sample.prompt, [sample.answers] if sample.answers else [])
    ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer.encode(opening, add_special_tokens=False)]])
    out = model.generate(
        ids.to(model.device),
        attention_mask=torch.ones_like(ids).to(model.device),
        do_sample=True,
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=0,
        max_new_tokens=settings.max_tokens,
    )
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()


def export(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, record: BaseRecord, folder: Path) -> Path:
    """Write the base into the folder, which transformers can load then; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size=SHARD_SIZE)
    tokenizer.save_pretrained(folder)
    write_json(folder / "pretrain.json", record)
    write_atomically(folder / "README.md", card(record, model.config.to_dict(), len(tokenizer)).encode())
    return folder


def card(record: BaseRecord, shape: dict[str, Any], vocabulary: int) -> str:
    """The base's model card, in Markdown with the Hub's front matter."""
    config, held = record.config, record.held_out_bits_per_byte
    phases = [phase.name for phase in config.phase]
    totals = {name: sum(part.shares[name] for part in config.part) for name in phases}
    parts = [
        "| "
        + " | ".join(
            [
                part.name,
                f"{record.documents[part.name]:,}",
                f"{record.part_tokens[part.name]:,}",
                *(f"{part.shares[name] / totals[name]:.1%}" for name in phases),
                f"{record.passes[part.name]:.2f} times",
            ]
        )
        + " |"
        for part in config.part
    ]
    return _CARD.format(
        parameters=record.parameters,
        languages=", ".join(config.card.languages),
        shape=f"{shape['model_type']}-shaped, width {shape['hidden_size']}, {shape['num_hidden_layers']} layers, "
        f"context {shape['max_position_embeddings']}",
        vocabulary=vocabulary,
        corpora="\n".join(f"| {c.name} | {c.what} | {c.licence} | `{c.sha256}` |" for c in config.corpus),
        phases=" | ".join(f"share in {name}" for name in phases),
        phase_rule="---|" * len(phases),
        parts="\n".join(parts),
        tokens=record.tokens,
        steps=record.steps,
        duration=f"{record.seconds // 60} minutes",
        hardware=record.hardware,
        torch=record.torch,
        held_out_one_in=HELD_OUT_ONE_IN,
        held_out_lines=record.held_out_lines,
        names=" | ".join(held),
        rule="---|" * len(held),
        figures=" | ".join(f"{value:.3f}" for value in held.values()),
        temperature=config.card.samples.temperature,
        top_p=config.card.samples.top_p,
        samples="\n".join(map(_shown, record.samples)),
        faults="\n".join(f"- {fault}" for fault in config.card.known_faults),
    )


def _shown(sample: Sample) -> str:
    said = f"`> {sample.answers}` " if sample.answers else ""
    begun = f"**{sample.prompt}**" if sample.prompt else ""
    return f"- {said}{begun}{' ' if begun and sample.text[:1].isalnum() else ''}{' '.join(sample.text.split())}"
