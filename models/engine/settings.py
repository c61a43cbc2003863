"""The [engine] table of the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class EngineSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the engine loads and generates. Its base is the one of [training]: adapters fit no other."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    threads: Annotated[int, Meta(ge=0, le=1024)] = 0
    cache_mb: Annotated[int, Meta(ge=1)] = 1024
    temperature: Annotated[float, Meta(ge=0, le=5)] = 0.8
    top_p: Annotated[float, Meta(gt=0, le=1)] = 0.95
    max_tokens: Annotated[int, Meta(ge=1, le=2048)] = 96
    max_prompt_chars: Annotated[int, Meta(ge=1, le=100_000)] = 500
    max_waiting: Annotated[int, Meta(ge=1)] = 32
    timeout_s: Annotated[float, Meta(ge=1)] = 120.0
