"""What is written to disk: posts, the spec of a run, its counts, and the manifest of a model version.

All are msgspec structs: decoding checks every type and refuses unknown fields.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

SPEC_FORMAT: Final = 1
MANIFEST_FORMAT: Final = 1
X_TOKEN: Final = "X_BEARER_TOKEN"  # environment variable
# Posts: X documents that it shows the newest 3,200 of an account; huggingtweets got up to 3,250.
X_REACH: Final = 3250

Handle = Annotated[str, Meta(pattern=r"^[\w.@-]{1,100}\Z")]
Method = Literal["full", "lora"]
Ground = Literal["own_archive", "own_account", "public_figure", "public_domain", "consent"]


class Post(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One post as collected: full text with its links, nothing cleaned yet."""

    id: str
    text: str
    is_escaped: bool = True  # whether `&amp;` in the text stands for `&`, as X writes it
    created_at: datetime | None = None  # aware, UTC
    is_retweet: bool = False
    reply_to_id: str | None = None
    reply_to_handle: str | None = None
    answers: str | None = None  # the text that it replies to, written as `text` is, where the source gives it
    links: tuple[str, ...] = ()  # as they stand in `text`
    lang: str | None = None


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who an account is, as its source tells."""

    handle: Handle
    name: str
    source: str = ""
    bio: str = ""
    posts: int | None = None  # as the platform counts them
    opted_out: str | None = None  # how the account says that it does not want this; nothing if it does not


class AccountSource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one account's posts come from. `inputs` are file names in the run folder's inputs/."""

    source: str
    handle: Handle | None = None  # None: the file tells
    inputs: tuple[str, ...] = ()
    ground: Ground = "own_archive"  # on which it may be learned, as who asked said
    is_proven: bool = False  # that it is the asker's own account
    held: str | None = None  # a raw file among the inputs, of posts that are here already: only newer ones are fetched


class SourceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [sources] table: what is fetched, and what is kept of it."""

    max_posts: Annotated[int, Meta(ge=100, le=100_000)] = 3200
    fresh_days: Annotated[float, Meta(ge=0)] = 7.0
    keep_posts: bool = True
    closed_servers: tuple[str, ...] = ("mastodon.social", "mastodon.online")


class XApiSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [x_api] table. The bearer token comes from the environment, never from here."""

    accept_terms: bool = False
    post_usd: Annotated[float, Meta(ge=0)] = 0.005
    user_usd: Annotated[float, Meta(ge=0)] = 0.01


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
    sources: SourceSettings = SourceSettings()


class Counts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """huggingtweets' four counts of one account (kept = downloaded - retweets - short), and what became of the kept."""

    handle: Handle
    name: str
    downloaded: int
    retweets: int
    short: int
    kept: int
    characters: int  # of the learned posts, cleaned
    left_out: dict[str, int] = {}  # of the kept posts those that are not learned, by reason
    source: str | None = None
    languages: tuple[str, ...] = ()  # ISO 639-1 codes, those of most posts first

    @property
    def learned(self) -> int:
        return self.kept - sum(self.left_out.values())


class StageFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that a stage left: `lineage.json` has one entry for each, in the order of making."""

    stage: str
    name: str
    sha256: str
    size: int  # bytes
    made_at: datetime
    code: dict[str, str]  # versions of what made it


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
    lineage: tuple[StageFile, ...] = ()
    files: dict[str, str] = {}

    @property
    def handles(self) -> tuple[str, ...]:
        return tuple(account.handle for account in self.accounts)
