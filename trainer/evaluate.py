"""How well a model predicts posts that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainer.dataset import IGNORED, Batch

Logits = Callable[[Tensor], Tensor]  # ids (B, T) -> logits (B, T, V)


def loss_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in nats summed over the labelled positions: (B, T, V), (B, T) -> scalar float32."""
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def bits_per_byte(logits: Logits, batches: Sequence[Batch], device: torch.device) -> float:
    """Bits per UTF-8 byte of the posts' text. The end-of-text token counts among the bits, not among the bytes.

    Unlike the loss per token it compares across tokenizers.
    """
    nats = 0.0
    with torch.no_grad():
        for batch in batches:
            nats += loss_sum(logits(batch.ids.to(device)), batch.labels.to(device)).item()
    return nats / math.log(2) / sum(batch.target_bytes for batch in batches)
