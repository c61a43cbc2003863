"""Bases, tokenizers and saved versions, as loaded transformers objects."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from models.engine.device import Placement
from models.errors import Unusable

BUILTIN = Path(__file__).resolve().parent.parent / "builtin"


def base_location(base: str) -> str:
    """What transformers is to load for a base of the configuration: a folder, or a name on the Hub."""
    return str(BUILTIN) if base == "builtin" else base


def load_tokenizer(location: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a base or of a full model; Unusable if there is none to be had."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(location)
    except Exception as exc:  # transformers raises whatever the file made it stumble over
        raise _unusable(location, exc) from exc
    if tokenizer.eos_token_id is None:
        raise Unusable(f"The base {location} has no end-of-text token, so a post would never end. Choose another base.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The text as ids. A special token's name in it, `<|endoftext|>` say, is a stranger's text like any other."""
    return list(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))


def load_weights(location: str, placement: Placement, *, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """A causal language model in evaluation mode, safetensors only; Unusable if it can't be loaded."""
    try:
        model = AutoModelForCausalLM.from_pretrained(location, dtype=dtype or placement.dtype, use_safetensors=True)
    except Exception as exc:  # transformers and safetensors raise whatever the file made them stumble over
        raise _unusable(location, exc) from exc
    return model.to(placement.device).eval()


def size_bytes(model: torch.nn.Module) -> int:
    """Bytes that the parameters and buffers take."""
    return sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))


def _unusable(location: str, exc: Exception) -> Unusable:
    reason = str(exc).strip().split("\n")[0][:300]
    return Unusable(
        f"The base {location} can't be loaded: {reason}. If it is a name on the Hub, this machine needs the network "
        f'the first time; base = "builtin" needs nothing.'
    )
