"""How adventurous and how long a post is to be: named steps, and what they mean to the engine."""

from __future__ import annotations

import enum

from models.engine.settings import EngineSettings


class Creativity(enum.StrEnum):
    """How far the words may stray from the likeliest ones."""

    CAREFUL = "careful"
    USUAL = "usual"
    LIVELY = "lively"
    WILD = "wild"


class Length(enum.StrEnum):
    """How long a post is to be."""

    SHORT = "short"
    USUAL = "usual"
    LONG = "long"


_TEMPERATURE_FACTORS = {Creativity.CAREFUL: 0.7, Creativity.USUAL: 1.0, Creativity.LIVELY: 1.25, Creativity.WILD: 1.6}


def temperature(engine: EngineSettings, creativity: Creativity) -> float:
    """The sampling temperature: the operator's, times the step's factor."""
    return min(5.0, engine.temperature * _TEMPERATURE_FACTORS[creativity])


def token_range(engine: EngineSettings, length: Length) -> tuple[int, int]:
    """(fewest, most) tokens of a post."""
    most = engine.max_tokens
    match length:
        case Length.SHORT:
            return 1, min(most, max(8, most // 3))
        case Length.LONG:
            return max(1, most // 2), min(2048, most * 2)
        case _:
            return 1, most
