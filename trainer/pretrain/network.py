"""The model of a pre-training run, its optimizers, and the batches that a token stream makes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from trainer.pretrain.config import TrainSettings
from trainer.step import IGNORED, Batch


def new_model(settings: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A model with fresh weights in fp32. What each layer adds starts at zero, so that all layers learn at once."""
    ids = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings, vocab_size=len(tokenizer), **ids))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.zero_()
    return model


class Rows:
    """Rows of a token stream, (R, W + 1), as batches.

    The mark before a quoted text carries no loss: quotes are given, and a model must not begin with one by itself.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._end = tokenizer.eos_token_id
        self._line, self._quote = (tokenizer.encode(mark, add_special_tokens=False)[0] for mark in ("\n", ">"))

    def batch(self, rows: Tensor) -> Batch:
        """One batch of them all, each document told by the end-of-text token that leads it."""
        ids, labels = rows[:, :-1].contiguous(), rows[:, 1:]
        begins = (ids == self._end) | (ids == self._line)
        labels = labels.masked_fill(begins & (labels == self._quote), IGNORED)
        return Batch(ids=ids, labels=labels, documents=(ids == self._end).cumsum(1))


def optimizers(model: PreTrainedModel, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for embeddings and norms; `peak_lr` holds the rate before the schedule."""
    named = list(model.named_parameters())
    embeddings = [p for n, p in named if "embed_tokens" in n or "lm_head" in n]
    norms = [p for _, p in named if p.ndim == 1]
    taken = {id(p) for p in (*embeddings, *norms)}
    muon = torch.optim.Muon(
        [p for _, p in named if id(p) not in taken],
        lr=settings.matrix_learning_rate,
        weight_decay=settings.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    adamw = torch.optim.AdamW(
        [
            {"params": embeddings, "lr": settings.embedding_learning_rate},
            {"params": norms, "lr": settings.norm_learning_rate},
        ],
        betas=(0.9, 0.95),
        weight_decay=0.0,
        fused=True,
    )
    for optimizer in (muon, adamw):
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return [muon, adamw]
