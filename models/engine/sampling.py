"""One token for each row of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

MIN_TEMPERATURE = 1e-6  # below it the division overflows; nothing but the likeliest token is left long before
MAX_TRIES = 8  # draws of a row from all tokens before its nucleus is looked for


def sample_next(
    logits: Tensor, *, temperature: float, top_p: float, banned: list[int], generator: torch.Generator
) -> Tensor:
    """One token id per row: logits (B, V) float -> ids (B,) int64, on the CPU, where the generator lives.

    `temperature` is dimensionless; 0 means argmax. `top_p` keeps the smallest set of tokens whose probability
    reaches it (nucleus sampling, Holtzman et al. 2020, arXiv:1904.09751). `banned` ids are never drawn.

    A token is drawn from all of them and thrown back if it is not in the nucleus, which it is with probability top_p
    or more: whether all that are likelier reach top_p takes one sum, where the nucleus takes sorting the vocabulary.
    """
    logits = logits.float().cpu()
    if banned:
        logits[:, banned] = float("-inf")
    if temperature < MIN_TEMPERATURE:
        return logits.argmax(dim=-1)
    weights = torch.softmax(logits / temperature, dim=-1)
    ids = torch.empty(len(weights), dtype=torch.int64)
    rows = torch.arange(len(weights))  # those that have none yet
    for _ in range(MAX_TRIES):
        drawn = _draw(weights[rows], generator)
        own = weights[rows].gather(1, drawn[:, None])
        likelier = weights[rows].masked_fill(weights[rows] <= own, 0.0).sum(dim=-1)
        fits = (likelier < top_p) & (own.squeeze(1) > 0)
        ids[rows[fits]] = drawn[fits]
        rows = rows[~fits]
        if not len(rows):
            return ids
    ids[rows] = _draw_sorted(weights[rows], top_p, generator)
    return ids


def _draw(weights: Tensor, generator: torch.Generator) -> Tensor:
    """One id per row in proportion to the weights (B, V), by inverting their sums: one random number a row."""
    sums = weights.cumsum(dim=-1, dtype=torch.float64)
    place = torch.rand(len(weights), 1, generator=generator, dtype=torch.float64) * sums[:, -1:]
    return torch.searchsorted(sums, place, right=True).squeeze(1).clamp_max(weights.shape[1] - 1)


def _draw_sorted(weights: Tensor, top_p: float, generator: torch.Generator) -> Tensor:
    """The same within the nucleus; ValueError if there is none, for the logits are no numbers."""
    if not weights.isfinite().all():
        raise ValueError("the model's logits are no numbers")
    ordered, index = weights.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered  # probability of all likelier tokens
    drawn = _draw(ordered.masked_fill(before >= top_p, 0.0), generator)
    return index.gather(1, drawn[:, None]).squeeze(1)
