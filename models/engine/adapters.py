"""LoRA adapters on one base: loaded beside each other, one of them, or none, active at a time."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open
from torch import Tensor
from transformers import Cache, PreTrainedModel

if TYPE_CHECKING:  # its import takes 1.5 s: only an adapter is worth that
    from peft import PeftModel


class Adapters:
    """The base, with any number of adapters to switch between."""

    def __init__(self, base: PreTrainedModel) -> None:
        self._base = base
        self._wrapped: PeftModel | None = None  # while there are adapters
        self._active: str | None = None
        self._numbers = itertools.count()

    def load(self, folder: Path) -> str:
        """Load the adapter in a folder; returns the name to call it by. Raises what PEFT and safetensors raise."""
        name = f"adapter{next(self._numbers)}"  # a path would collide once PEFT had made a module name of it
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
            file.keys()  # PEFT puts its layers into the base before it reads the weights: find damage first
        if self._wrapped is None:
            from peft import PeftModel

            self._wrapped = PeftModel.from_pretrained(self._base, str(folder), adapter_name=name)
            self._active = name
        else:
            self._wrapped.load_adapter(str(folder), adapter_name=name)
        self._wrapped.eval()
        return name

    def drop(self, name: str) -> None:
        """Forget an adapter."""
        assert self._wrapped is not None
        if len(self._wrapped.peft_config) == 1:
            self._base = self._wrapped.unload()
            self._wrapped = self._active = None
            return
        if self._active in (name, None):
            self._activate(next(other for other in self._wrapped.peft_config if other != name))
        self._wrapped.delete_adapter(name)

    def forward(self, name: str | None, ids: Tensor, cache: Cache) -> Tensor:
        """The last position's logits (B, V) of ids (B, T) and their cache, with that adapter, or of the bare base."""
        if self._wrapped is None:
            return last_logits(self._base, ids, cache)
        if name != self._active:
            self._activate(name)
        return last_logits(self._wrapped, ids, cache)

    def _activate(self, name: str | None) -> None:
        # Not PeftModel.disable_adapter(): it looks at every module of the model at each call.
        assert self._wrapped is not None
        if name is None:
            self._wrapped.base_model.disable_adapter_layers()
        else:
            if self._active is None:
                self._wrapped.base_model.enable_adapter_layers()
            self._wrapped.set_adapter(name)
        self._active = name


def last_logits(model: PreTrainedModel | PeftModel, ids: Tensor, cache: Cache) -> Tensor:
    """The last position's logits (B, V), float32."""
    output = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return output.logits[:, -1].float()
