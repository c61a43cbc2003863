"""What the registry holds and the front ends show: callers, jobs, models, and how far a job is."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from models.messages import Phase

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
    """Who asks, and where. `may_manage`: may cancel what others started."""

    server_id: int
    user_id: int
    channel_id: int | None = None
    may_manage: bool = False


CONSOLE = Caller(server_id=HOUSE, user_id=0, may_manage=True)


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
    breakdowns: int
    version: int | None
    error: str | None
    created_at: datetime
    ended_at: datetime | None

    @property
    def title(self) -> str:
        """What to call the job before its model has a name."""
        return self.model or "-".join(self.handles) or "an archive"


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """A model with its latest version."""

    model_id: int
    server_id: int
    name: str
    handles: tuple[str, ...]
    folder: str  # under the data directory's models/, the version's own folder
    version: int
    posts: int
    bits_per_byte: float
    created_at: datetime


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
