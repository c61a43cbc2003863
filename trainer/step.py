"""One step of training a causal language model on rows that several texts share; fine-tuning and pre-training alike.

A plain step of a small model spends most of its time outside of matrix products. Here no row is padded (texts share it
and don't see each other), attention over such short rows is two products and a softmax, and the loss never holds the
logits of all positions nor of any that carries none (docs/log.md has what each of these gave).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "short_rows"  # the name that transformers knows `attend` by
SHORT = 512  # tokens of a row
IGNORED = -100  # label of positions that carry no loss, as torch's cross-entropy has it
LOGITS = 1 << 23  # at most are held at once


@dataclass(frozen=True, kw_only=True)
class Batch:
    """R rows of W tokens. Texts stand end to end; `documents` tells them apart; each token of padding is one."""

    ids: Tensor  # (R, W) int64
    labels: Tensor  # (R, W) int64, already shifted: labels[:, t] is what follows ids[:, t], or IGNORED
    documents: Tensor  # (R, W) int64, rising along a row

    def to(self, device: torch.device) -> Batch:
        """The batch on that device."""
        return Batch(ids=self.ids.to(device), labels=self.labels.to(device), documents=self.documents.to(device))


def attend(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attention written out: (B, heads, T, d) and (B, key heads, S, d) twice -> (B, T, heads, d).

    The mask (B, 1, T, S) is true where a key is seen; without one attention is causal. Rows over SHORT are for torch's
    own attention, whose memory does not grow with their square.
    """
    if query.shape[2] > SHORT:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = (query * options["scaling"]) @ key.transpose(2, 3)  # (B, heads, T, S)
    if attention_mask is None:
        later = key.shape[2] - query.shape[2]
        attention_mask = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).tril(later)
    weights = scores.float().masked_fill(~attention_mask, float("-inf")).softmax(-1).to(value.dtype)
    weights = torch.nn.functional.dropout(weights, options.get("dropout", 0.0), module.training)
    return (weights @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


class Step:
    """Forward passes in `dtype` over weights that may be finer; gradients are as fine as the weights.

    `shares_rows` tells whether texts may share a row: whether the model can be kept from reading one into the next.
    """

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype, *, compiled: bool = False) -> None:
        self._model, self._dtype = model, dtype
        if model.device.type == "cpu":
            _use_short_rows(model)
        self._ends_plainly = _ends_plainly(model)
        self.shares_rows = self._tells_apart()
        self._hidden = torch.compile(_hidden) if compiled else _hidden
        self._entropy = torch.compile(_entropy) if compiled else _entropy

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy in nats, summed over the labels; to be differentiated at once."""
        inputs = self._inputs(batch.ids, batch.documents) if self.shares_rows else {"input_ids": batch.ids}
        labels = batch.labels.flatten()
        if not self._ends_plainly:
            logits = _call(self._model, self._dtype, inputs).logits.flatten(0, 1).float()
            return torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
        hidden = self._hidden(self._model.base_model, self._dtype, inputs).flatten(0, 1)
        head = self._model.get_output_embeddings().weight.to(hidden.dtype)
        return LinearCrossEntropy.apply(hidden, head, labels, self._entropy)

    def _inputs(self, ids: Tensor, documents: Tensor) -> dict[str, Tensor]:
        """What the model is called with, so that each document is read as if it stood alone."""
        place = torch.arange(ids.shape[1], device=ids.device)
        seen = (documents[:, :, None] == documents[:, None, :]) & (place[:, None] >= place[None, :])
        begins = torch.diff(documents, dim=1, prepend=documents[:, :1] - 1) != 0
        positions = place - torch.where(begins, place, 0).cummax(1).values
        return {"input_ids": ids, "attention_mask": self._mask(seen[:, None]), "position_ids": positions}

    def _tells_apart(self) -> bool:
        """Whether the model heeds mask and positions: one with a running state, say, reads on into the next text."""
        ids = torch.tensor([[0, 1, 1, 1, 0, 1]], device=self._model.device)
        with torch.no_grad():
            alone = self._model(input_ids=ids[:, 3:], use_cache=False).logits
            try:
                shared = self._model(**self._inputs(ids, ids.new_tensor([[1, 1, 1, 2, 2, 2]])), use_cache=False).logits
            except Exception:  # whatever a model stumbles over that has never heard of such a mask
                return False
        return torch.allclose(shared[:, 3:], alone, rtol=1e-2, atol=1e-2)

    def _mask(self, seen: Tensor) -> Tensor:
        """What is true where a key is seen, as the model's attention takes it."""
        if self._model.config._attn_implementation != "eager":
            return seen
        return torch.zeros_like(seen, dtype=self._dtype).masked_fill(~seen, torch.finfo(self._dtype).min)


class LinearCrossEntropy(torch.autograd.Function):
    """Summed cross-entropy of `hidden @ head.T`, its gradients made chunk by chunk while the logits are at hand.

    Labels of IGNORED carry no loss and cost no logits.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, hidden: Tensor, head: Tensor, labels: Tensor, entropy: Any) -> Tensor:
        """hidden (N, D), head (V, D), labels (N,) -> nats, a scalar."""
        kept = (labels != IGNORED).nonzero().squeeze(1)
        rows = max(1, LOGITS // len(head))
        total = torch.zeros((), device=hidden.device)
        d_hidden = torch.zeros_like(hidden) if ctx.needs_input_grad[0] else None
        d_head = torch.zeros_like(head, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        for chosen in kept.split(rows):
            own = hidden[chosen]
            nats, d_logits = entropy(own @ head.T, labels[chosen])
            total += nats
            if d_hidden is not None:
                d_hidden[chosen] = d_logits @ head
            if d_head is not None:
                d_head += d_logits.T @ own
        ctx.save_for_backward(d_hidden, None if d_head is None else d_head.to(head.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """The gradients of forward's first two inputs, where they are wanted."""
        d_hidden, d_head = ctx.saved_tensors
        return (
            None if d_hidden is None else d_hidden * grad.to(d_hidden.dtype),
            None if d_head is None else d_head * grad.to(d_head.dtype),
            None,
            None,
        )


def _call(module: torch.nn.Module, dtype: torch.dtype, inputs: dict[str, Tensor]) -> Any:
    weights = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in module.named_parameters()
    }
    return torch.func.functional_call(module, weights, (), {**inputs, "use_cache": False})


def _hidden(body: torch.nn.Module, dtype: torch.dtype, inputs: dict[str, Tensor]) -> Tensor:
    """What the body makes of ids (B, T) before the output layer: (B, T, D)."""
    return _call(body, dtype, inputs).last_hidden_state


def _entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(summed nats, their gradient by the logits, in the logits' dtype) for logits (N, V) and labels (N,)."""
    scores = torch.log_softmax(logits, -1, dtype=torch.float32)
    is_label = torch.arange(scores.shape[1], device=scores.device)[None, :] == labels[:, None]
    return -scores.gather(1, labels[:, None]).sum(), (scores.exp() - is_label.float()).to(logits.dtype)


def _use_short_rows(model: PreTrainedModel) -> None:
    """Let the model attend by `attend`, if its logits are the same then: some have sinks, caps or windows."""
    usual = model.config._attn_implementation
    before = _probe(model).logits
    try:
        model.set_attn_implementation(ATTENTION)
    except ValueError:  # an architecture with an attention of its own
        return
    if not torch.allclose(_probe(model).logits, before, rtol=1e-2, atol=1e-2):
        model.set_attn_implementation(usual)


def _ends_plainly(model: PreTrainedModel) -> bool:
    """Whether the logits are the hidden states times the output embeddings: tried, because some scale or cap them."""
    head = model.get_output_embeddings()
    if head is None or getattr(head, "bias", None) is not None:
        return False
    hidden = _probe(model.base_model).last_hidden_state.to(head.weight.dtype)
    return torch.allclose(hidden @ head.weight.T, _probe(model).logits, rtol=1e-2, atol=1e-2)


def _probe(module: PreTrainedModel) -> Any:
    """What the module makes of three tokens."""
    with torch.no_grad():
        return module(input_ids=torch.tensor([[1, 0, 1]], device=module.device), use_cache=False)
