"""What is written to disk: posts, the spec of a run, its counts, and the manifest of a model version.

All are msgspec structs: decoding checks every type and refuses unknown fields.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

SPEC_FORMAT: Final = 1
MANIFEST_FORMAT: Final = 1

Handle = Annotated[str, Meta(pattern=r"^[\w.@-]{1,100}\Z")]
Method = Literal["full", "lora"]


class Post(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One post as collected: full text with its links and escapes, nothing cleaned yet."""

    id: str
    text: str
    created_at: datetime | None = None  # aware, UTC
    is_retweet: bool = False
    reply_to_id: str | None = None
    reply_to_handle: str | None = None
    links: tuple[str, ...] = ()  # as they stand in `text`
    lang: str | None = None


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who an account is, as its source tells."""

    handle: Handle
    name: str


class AccountSource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one account's posts come from. `inputs` are file names in the run folder's inputs/."""

    source: str
    handle: Handle | None = None  # None: the file tells
    inputs: tuple[str, ...] = ()


class TrainingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [training] table: how a base is fine-tuned."""

    base: str = "builtin"  # "builtin", a folder, or a name on the Hub
    method: Literal["auto", "full", "lora"] = "auto"
    epochs: Annotated[int, Meta(ge=1, le=100)] = 3
    learning_rate: Annotated[float, Meta(gt=0, le=1)] | Literal["auto"] = "auto"
    batch_tokens: Annotated[int, Meta(ge=64, le=1_000_000)] = 1024
    max_post_tokens: Annotated[int, Meta(ge=16, le=4096)] = 256
    lora_rank: Annotated[int, Meta(ge=1, le=1024)] = 32
    held_out_fraction: Annotated[float, Meta(gt=0, le=0.5)] = 0.05
    evaluations_per_epoch: Annotated[int, Meta(ge=1, le=100)] = 2
    patience: Annotated[int, Meta(ge=1, le=100)] = 2
    seed: Annotated[int, Meta(ge=0, lt=1 << 32)] = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    threads: Annotated[int, Meta(ge=0, le=1024)] = 0
    silence_timeout_s: Annotated[float, Meta(ge=1)] = 900.0
    max_breakdowns: Annotated[int, Meta(ge=1, le=10)] = 3


class RunSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`spec.json`: everything that the trainer is told about one job."""

    format: Literal[1] = SPEC_FORMAT
    job_id: int
    model: str
    accounts: tuple[AccountSource, ...]
    training: TrainingSettings


class Counts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """huggingtweets' four counts of one account; kept = downloaded - retweets - short."""

    handle: Handle
    name: str
    downloaded: int
    retweets: int
    short: int
    kept: int
    characters: int  # of the kept posts, cleaned


class Stats(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`stats.json`: what cleaning left, one entry an account, and what the reader should know."""

    accounts: tuple[Counts, ...]
    warnings: tuple[str, ...] = ()


class DatasetRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of `dataset.jsonl`: a cleaned post, and the text that it answers where that is known."""

    id: str
    handle: Handle
    text: str
    answers: str | None = None


class Metrics(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`metrics.json`: what was measured in one fine-tuning."""

    posts: int
    held_out_posts: int
    tokens: int  # label tokens of the training split, once through
    bits_per_byte_before: float
    bits_per_byte_after: float
    loss_curve: tuple[tuple[int, float], ...]  # (step, mean training loss since the last point, nats per token)
    held_out_curve: tuple[tuple[int, float], ...]  # (step, held-out bits per byte)
    best_step: int
    steps: int
    seconds: float
    tokens_per_s: float
    peak_memory_mb: int
    hardware: str
    precision: str
    libraries: dict[str, str]


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`manifest.json` of a model version. `files` maps every other file to its SHA-256; written last."""

    format: Literal[1] = MANIFEST_FORMAT
    job_id: int
    model: str
    base: str
    method: Method
    text_format: str
    created_at: datetime
    accounts: tuple[Counts, ...]
    training: TrainingSettings
    metrics: Metrics
    files: dict[str, str] = {}

    @property
    def handles(self) -> tuple[str, ...]:
        return tuple(account.handle for account in self.accounts)
