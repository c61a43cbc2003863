"""One token for each row of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

MIN_TEMPERATURE = 1e-6  # below it the division overflows; nothing but the likeliest token is left long before


def sample_next(
    logits: Tensor, *, temperature: float, top_p: float, banned: list[int], generator: torch.Generator
) -> Tensor:
    """One token id per row: logits (B, V) float -> ids (B,) int64, on the CPU, where the generator lives.

    `temperature` is dimensionless; 0 means argmax. `top_p` keeps the smallest set of tokens whose probability
    reaches it (nucleus sampling, Holtzman et al. 2020, arXiv:1904.09751). `banned` ids are never drawn.
    """
    logits = logits.float().cpu()
    if banned:
        logits[:, banned] = float("-inf")
    if temperature < MIN_TEMPERATURE:
        return logits.argmax(dim=-1)
    ordered, index = torch.softmax(logits / temperature, dim=-1).sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered  # probability of all likelier tokens
    ordered = ordered.masked_fill(before >= top_p, 0.0)
    choice = torch.multinomial(ordered, 1, generator=generator)  # normalises by itself
    return index.gather(-1, choice).squeeze(-1)
