"""How well a model predicts texts that it has not seen."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch

from trainer.dataset import Example, collate, plan_epoch, row_width
from trainer.step import Step

HELD_OUT_TOKENS = 4096  # at once


def bits_per_byte(step: Step, examples: Sequence[Example], *, pad_id: int, device: torch.device) -> float:
    """Bits per UTF-8 byte of the examples' texts. The end-of-text token counts among the bits, not among the bytes.

    Unlike the loss per token it compares across tokenizers.
    """
    width = row_width(examples, shared=step.shares_rows)
    height = max(1, HELD_OUT_TOKENS // width)
    rows = plan_epoch(examples, width=width, shared=step.shares_rows, rng=random.Random(0))
    nats = 0.0
    with torch.no_grad():
        for start in range(0, len(rows), height):
            chosen = [[examples[i] for i in row] for row in rows[start : start + height]]
            nats += step.loss(collate(chosen, width=width, height=height, pad_id=pad_id).to(device)).item()
    return nats / math.log(2) / sum(example.target_bytes for example in examples)
