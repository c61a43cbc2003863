"""The pre-training config: which text in what shares, which shape, which schedule."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

CONFIG = Path(__file__).with_name("config.toml")


class Corpus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One named corpus file."""

    name: str
    file: str
    sha256: str
    licence: str
    what: str


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stretch of a corpus, and its share of each phase's tokens (any unit; the shares of a phase are summed)."""

    name: str
    corpus: str
    shares: dict[str, float]  # by phase
    lines: tuple[int, int] | None = None  # half-open; none: all
    dialogue: bool = False  # whether neighbours answer each other
    is_raw: bool = False  # chat or posts as they were written: cleaned as an account's posts are


class Phase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stretch of the run: `tokens` in rows of `row_tokens`; the rate goes linearly from first to last."""

    name: str
    tokens: int
    row_tokens: int
    first_rate: float
    last_rate: float


class TrainSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [train] table of the config; see there for units."""

    batch_tokens: int
    micro_tokens: int
    matrix_learning_rate: float
    embedding_learning_rate: float
    norm_learning_rate: float
    weight_decay: float
    warmup_steps: int
    checkpoint_minutes: float
    compile: bool


class SampleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which samples the card shows."""

    seed: int
    temperature: float
    top_p: float
    max_tokens: int
    unprompted: int  # how many
    beginnings: tuple[str, ...]  # to go on from
    remarks: tuple[str, ...]  # to answer


class CardSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the card says that no measurement tells."""

    languages: tuple[str, ...]  # ISO codes
    known_faults: tuple[str, ...]
    samples: SampleSettings


class PretrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole config file."""

    seed: int
    tokenizer: dict[str, int]
    model: dict[str, Any]  # of transformers' configuration class for its `model_type`
    train: TrainSettings
    phase: tuple[Phase, ...]
    corpus: tuple[Corpus, ...]
    part: tuple[Part, ...]
    card: CardSettings

    @classmethod
    def read(cls, path: Path) -> PretrainConfig:
        """The config in the file; msgspec.ValidationError says what is wrong with it."""
        return msgspec.convert(tomllib.loads(path.read_text()), cls)

    def steps(self, phase: Phase) -> int:
        return phase.tokens // self.train.batch_tokens

    @property
    def total_steps(self) -> int:
        return sum(map(self.steps, self.phase))

    def ends(self) -> list[tuple[Phase, int]]:
        """Each phase with the number of steps that are done at its end."""
        sizes = [self.steps(phase) for phase in self.phase]
        return [(phase, sum(sizes[: i + 1])) for i, phase in enumerate(self.phase)]

    def at(self, step: int) -> tuple[Phase, int]:
        """The phase of a step of the run, and the step within it; past the end, the last phase's end."""
        for phase in self.phase:
            if step < self.steps(phase):
                return phase, step
            step -= self.steps(phase)
        return self.phase[-1], self.steps(self.phase[-1])

    def rate(self, step: int) -> float:
        """Factor on the learning rates: warm-up, then each phase's line (warm-up, stable, decay: WSD)."""
        phase, inside = self.at(step)
        line = phase.first_rate + (phase.last_rate - phase.first_rate) * inside / max(1, self.steps(phase))
        return min(1.0, (step + 1) / self.train.warmup_steps) * line
