"""What the engine can speak as: the base, adapters on it, and full models beside it, least recently used out first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

from models.engine.device import Placement
from models.engine.loading import base_location, load_tokenizer, load_weights, size_bytes
from models.errors import BadModelFolder, Unusable
from models.files import verify
from models.text import DEFAULT_FORMAT, TextFormat, text_format

Forward = Callable[[Tensor, Cache], Tensor]


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One thing to speak as. `forward` maps ids (B, T) and their cache to the last position's logits (B, V)."""

    forward: Forward
    tokenizer: PreTrainedTokenizerBase
    text_format: TextFormat
    context_tokens: int
    size_bytes: int


class Voices:
    """Loads versions on demand and keeps them within a budget of bytes, the base not counted."""

    def __init__(self, base: str, placement: Placement, *, budget_bytes: int) -> None:
        self._base = base
        self._placement = placement
        self._budget_bytes = budget_bytes
        location = base_location(base)
        self._tokenizer = load_tokenizer(location)
        self._model = load_weights(location, placement)
        self._adapters: PeftModel | None = None
        self._loaded: OrderedDict[str, Voice] = OrderedDict()
        self.parameters = sum(p.numel() for p in self._model.parameters())

    def get(self, folder: str | None) -> Voice:
        """The voice of a model folder, or the bare base; Unusable if the folder can't be served."""
        if folder is None:
            return self._voice(self._base_forward, self._tokenizer, DEFAULT_FORMAT, self._model, 0)
        if folder not in self._loaded:
            self._loaded[folder] = self._load(Path(folder))
        self._loaded.move_to_end(folder)
        self._evict(keep=folder)
        return self._loaded[folder]

    def _load(self, folder: Path) -> Voice:
        try:
            manifest = verify(folder)
            style = text_format(manifest.text_format)
        except BadModelFolder as exc:
            raise Unusable(f"This model's files are damaged, so I can't use it: {exc.reason}.") from exc
        except KeyError as exc:
            raise Unusable(f"This model was trained with a text format that I don't know: {exc}.") from exc
        if manifest.method == "full":
            tokenizer = load_tokenizer(str(folder))
            model = load_weights(str(folder), self._placement)
            return self._voice(_forward_of(model), tokenizer, style, model, size_bytes(model))
        if manifest.base != self._base:
            raise Unusable(
                f"This model is an adapter for the base {manifest.base}, and the engine runs {self._base}. "
                f"Set [engine] base to {manifest.base!r}, or train it again."
            )
        size = (folder / "adapter_model.safetensors").stat().st_size
        return self._voice(self._adapter_forward(folder), self._tokenizer, style, self._model, size)

    def _adapter_forward(self, folder: Path) -> Forward:
        name = str(folder).replace(".", "_")  # PEFT makes it a module name
        if self._adapters is None:
            self._adapters = PeftModel.from_pretrained(self._model, str(folder), adapter_name=name)
        else:
            self._adapters.load_adapter(str(folder), adapter_name=name)
        self._adapters.eval()
        adapters = self._adapters

        def forward(ids: Tensor, cache: Cache) -> Tensor:
            if adapters.active_adapter != name:
                adapters.set_adapter(name)
            return _last_logits(adapters, ids, cache)

        return forward

    def _base_forward(self, ids: Tensor, cache: Cache) -> Tensor:
        if self._adapters is None:
            return _last_logits(self._model, ids, cache)
        with self._adapters.disable_adapter():
            return _last_logits(self._adapters, ids, cache)

    def _evict(self, *, keep: str) -> None:
        while len(self._loaded) > 1 and sum(v.size_bytes for v in self._loaded.values()) > self._budget_bytes:
            oldest = next(folder for folder in self._loaded if folder != keep)
            del self._loaded[oldest]
            if self._adapters is not None and oldest.replace(".", "_") in self._adapters.peft_config:
                self._adapters.delete_adapter(oldest.replace(".", "_"))

    def _voice(
        self,
        forward: Forward,
        tokenizer: PreTrainedTokenizerBase,
        style: TextFormat,
        model: PreTrainedModel,
        size: int,
    ) -> Voice:
        context = getattr(model.config, "max_position_embeddings", 1024)
        return Voice(forward=forward, tokenizer=tokenizer, text_format=style, context_tokens=context, size_bytes=size)


def _forward_of(model: PreTrainedModel) -> Forward:
    return lambda ids, cache: _last_logits(model, ids, cache)


def _last_logits(model: torch.nn.Module, ids: Tensor, cache: Cache) -> Tensor:
    output = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return output.logits[:, -1].float()
