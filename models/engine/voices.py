"""What the engine can speak as: the base, adapters on it, and full models beside it, least recently used out first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

from models.engine.adapters import Adapters, last_logits
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
    adapter: str | None = None


class Voices:
    """Loads versions on demand and keeps them within a budget of bytes, the base not counted."""

    def __init__(self, base: str, placement: Placement, *, budget_bytes: int) -> None:
        self._base = base
        self._placement = placement
        self._budget_bytes = budget_bytes
        location = base_location(base)
        self._tokenizer = load_tokenizer(location)
        model = load_weights(location, placement)
        self._adapters = Adapters(model)
        self._context_tokens = _context_tokens(model)
        self._loaded: OrderedDict[str, Voice] = OrderedDict()
        self.parameters = sum(p.numel() for p in model.parameters())

    def get(self, folder: str | None) -> Voice:
        """The voice of a model folder, or the bare base; Unusable if the folder can't be served."""
        if folder is None:
            return self._on_base(None, DEFAULT_FORMAT, size=0)
        if folder not in self._loaded:
            self._loaded[folder] = self._load(Path(folder))
        self._loaded.move_to_end(folder)
        return self._loaded[folder]

    def trim(self, *, in_use: Collection[str | None]) -> None:
        """Forget the least recently used voices until the rest is within the budget; none that is in use."""
        spare = [folder for folder in self._loaded if folder not in in_use]
        while spare and sum(voice.size_bytes for voice in self._loaded.values()) > self._budget_bytes:
            self.unload(spare.pop(0))

    def unload(self, folder: str) -> None:
        """Forget one voice, if it is loaded."""
        voice = self._loaded.pop(folder, None)
        if voice is not None and voice.adapter is not None:
            self._adapters.drop(voice.adapter)

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
            return Voice(
                forward=partial(last_logits, model),
                tokenizer=tokenizer,
                text_format=style,
                context_tokens=_context_tokens(model),
                size_bytes=size_bytes(model),
            )
        if manifest.base != self._base:
            raise Unusable(
                f"This model is an adapter for the base {manifest.base}, and the engine runs {self._base}. "
                f"Set [training] base to {manifest.base!r}, or train it again."
            )
        try:
            size = (folder / "adapter_model.safetensors").stat().st_size
            adapter = self._adapters.load(folder)
        except Exception as exc:  # PEFT, safetensors and torch each have errors of their own
            raise Unusable(f"This model's adapter can't be loaded: {type(exc).__name__}: {exc}") from exc
        return self._on_base(adapter, style, size=size)

    def _on_base(self, adapter: str | None, style: TextFormat, *, size: int) -> Voice:
        return Voice(
            forward=partial(self._adapters.forward, adapter),
            tokenizer=self._tokenizer,
            text_format=style,
            context_tokens=self._context_tokens,
            size_bytes=size,
            adapter=adapter,
        )


def _context_tokens(model: PreTrainedModel) -> int:
    return int(getattr(model.config, "max_position_embeddings", 1024))
