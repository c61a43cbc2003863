"""What the registry holds and the front ends show: callers, jobs, models, and how far a job is."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from models.messages import Phase
from models.records import Ground

HOUSE = 0  # the server id of the operator's console; its models are visible everywhere


class JobState(enum.StrEnum):
    """queued -> collecting -> fitting -> saving -> done | failed | cancelled."""

    QUEUED = "queued"
    COLLECTING = "collecting"
    FITTING = "fitting"
    SAVING = "saving"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks, and where. In a direct message the member's own id stands for the server's."""

    server_id: int
    user_id: int
    channel_id: int | None = None
    parent_id: int | None = None  # of a thread: the channel that it hangs on
    roles: frozenset[int] = frozenset()
    may_manage: bool = False  # Manage Server, or let in by the server's own rules for this command
    may_train: bool = False  # the same, for trainings

    @property
    def place_id(self) -> int | None:
        """The channel whose settings count: a thread has its parent's."""
        return self.parent_id or self.channel_id


CONSOLE = Caller(server_id=HOUSE, user_id=0, may_manage=True, may_train=True)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One asked-for training, as the registry has it."""

    id: int
    server_id: int
    user_id: int
    channel_id: int | None
    message_id: int | None
    announced: bool
    model: str | None
    handles: tuple[str, ...]
    state: JobState
    cancel_requested: bool
    confirmed: bool
    breakdowns: int
    version: int | None
    error: str | None
    digest: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def title(self) -> str:
        """What to call the job before its model has a name."""
        return self.model or "-".join(self.handles) or "an archive"


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """A version of a model; in lists, its latest."""

    model_id: int
    server_id: int
    name: str
    handles: tuple[str, ...]
    home: str  # the model's folder, under the data directory's models/
    version: int
    job_id: int
    posts: int
    bits_per_byte: float
    digest: str | None  # of what it has learned from, and how
    created_at: datetime
    deleted_at: datetime | None

    @property
    def folder(self) -> str:
        """The version's own folder, under the data directory's models/."""
        return f"{self.home}/{self.version}"


@dataclass(frozen=True, kw_only=True)
class Consent:
    """Who asked for an account to be learned, when, and on what ground."""

    job_id: int
    handle: str
    source: str
    ground: Ground
    is_proven: bool
    user_id: int
    asked_at: datetime


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job and how far it is: what a progress display shows. Figures are None until known."""

    job: Job
    position: int = 0  # in the queue, 1 is next; 0 once it runs
    phase: Phase | None = None
    done: int = 0
    total: int | None = None
    eta_s: float | None = None
    loss: float | None = None
    bits_per_byte: float | None = None
    tokens_per_s: float | None = None
    sample: str | None = None
    notices: tuple[str, ...] = ()
    paused: bool = False  # the bot stops; the job goes on when it is back
