"""The model of a pre-training run and one step of it, made for packed rows and small matrices.

A plain step of a small model on a CPU spends most of its time outside of matrix products. Here documents share a row
but don't see each other, attention over such short rows is two products and a softmax, the body is compiled, and
the loss never holds the logits of all positions (docs/log.md has what each of these gave).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from trainer.dataset import IGNORED
from trainer.pretrain.config import TrainSettings

ATTENTION = "documents"  # the name that transformers knows `attend` by
LOSS_ROWS = 1024  # positions whose logits are held at once


def attend(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, _: None, **options: Any
) -> tuple[Tensor, None]:
    """Causal attention within documents: (B, heads, T, d) thrice -> (B, T, heads, d); `documents` is (B, T)."""
    documents, scaling = options["documents"], options["scaling"]
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = (query * scaling) @ key.transpose(2, 3)  # (B, heads, T, T)
    place = torch.arange(query.shape[2], device=query.device)
    hidden = (documents[:, None, :, None] != documents[:, None, None, :]) | (place[:, None] < place[None, :])
    weights = scores.float().masked_fill(hidden, float("-inf")).softmax(-1).to(value.dtype)
    return (weights @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, attend)


def new_model(settings: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A model with fresh weights in fp32. What each layer adds starts at zero, so that all layers learn at once."""
    ids = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings, vocab_size=len(tokenizer), **ids))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.zero_()
    model.set_attn_implementation(ATTENTION)
    return model


class Step:
    """Forward and backward of a micro-batch in bf16 over fp32 weights; gradients are summed in fp32."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, *, compiled: bool) -> None:
        self._model = model
        self._end = tokenizer.eos_token_id
        self._line, self._quote = (tokenizer.encode(mark, add_special_tokens=False)[0] for mark in ("\n", ">"))
        self._hidden = torch.compile(_hidden) if compiled else _hidden
        self._entropy = torch.compile(_entropy) if compiled else _entropy

    def __call__(self, rows: Tensor, *, weight: float) -> Tensor:
        """Mean cross-entropy in nats per token of rows (B, T + 1); its gradient times `weight` is added.

        The mark before a quoted text carries no loss: quotes are given, and a model must not begin with one by itself.
        """
        ids, labels = rows[:, :-1].contiguous(), rows[:, 1:]
        begins = (ids == self._end) | (ids == self._line)
        labels = labels.masked_fill(begins & (labels == self._quote), IGNORED).flatten()
        documents = (ids == self._end).cumsum(1)
        hidden = self._hidden(self._model, ids, documents).flatten(0, 1)
        head = self._model.get_output_embeddings().weight
        loss = LinearCrossEntropy.apply(hidden, head.to(hidden.dtype), labels, self._entropy) / len(labels)
        (loss * weight).backward()
        return loss.detach()


class LinearCrossEntropy(torch.autograd.Function):
    """Summed cross-entropy of `hidden @ head.T`, its gradients made chunk by chunk while the logits are at hand.

    Labels of IGNORED carry no loss.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, hidden: Tensor, head: Tensor, labels: Tensor, entropy: Any) -> Tensor:
        """hidden (N, D), head (V, D), labels (N,) -> nats, a scalar."""
        total = torch.zeros((), device=hidden.device)
        d_hidden, d_head = torch.empty_like(hidden), torch.zeros_like(head, dtype=torch.float32)
        for start in range(0, len(hidden), LOSS_ROWS):
            chunk = slice(start, start + LOSS_ROWS)
            nats, d_logits = entropy(hidden[chunk] @ head.T, labels[chunk])
            total += nats
            d_hidden[chunk] = d_logits @ head
            d_head += d_logits.T @ hidden[chunk]
        ctx.save_for_backward(d_hidden, d_head.to(head.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """The gradients of forward's first two inputs."""
        d_hidden, d_head = ctx.saved_tensors
        return d_hidden * grad.to(d_hidden.dtype), d_head * grad.to(d_head.dtype), None, None


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


def _hidden(model: PreTrainedModel, ids: Tensor, documents: Tensor) -> Tensor:
    """What the body makes of ids (B, T) before the output layer, in bf16: (B, T, D)."""
    body = model.base_model
    weights = {name: parameter.to(torch.bfloat16) for name, parameter in body.named_parameters()}
    inputs = {"input_ids": ids, "documents": documents, "use_cache": False}
    return torch.func.functional_call(body, weights, (), inputs).last_hidden_state


def _entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(summed nats, gradient of them by the logits, in their dtype) for logits (N, V) and labels (N,)."""
    scores, labels = logits.float(), labels[:, None]
    counts = labels != IGNORED
    normalizer = scores.logsumexp(-1, keepdim=True)
    nats = ((normalizer - scores.gather(1, labels.clamp_min(0))) * counts).sum()
    is_label = torch.arange(scores.shape[1], device=scores.device)[None, :] == labels
    return nats, (((scores - normalizer).exp() - is_label.float()) * counts).to(logits.dtype)
