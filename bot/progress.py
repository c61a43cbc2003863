"""How far a job is, in words: shared by the terminal's bar and Discord's message."""

from __future__ import annotations

from bot.records import JobState, JobView
from bot.strings import Strings


def headline(view: JobView, say: Strings) -> str:
    """What is being done: the phase while it runs, else the state."""
    job = view.job
    if job.state == JobState.QUEUED and view.position:
        return say("progress.place", place=view.position)
    if job.state == JobState.QUEUED or job.state.is_over:
        return say.state(job)
    return say(f"progress.{view.phase}") if view.phase else say("progress.starting")


def fraction(view: JobView) -> float | None:
    """How much of the phase is done, 0 to 1; None while that is unknown."""
    return min(1.0, view.done / view.total) if view.total else None


def figures(view: JobView, say: Strings) -> list[str]:
    """The figures known so far, each as text with its unit."""
    parts = []
    if view.phase == "collect" and view.done:
        parts.append(say("progress.posts", posts=view.done))
    if view.eta_s is not None:
        parts.append(say("progress.left", duration=duration(view.eta_s)))
    if view.loss is not None:
        parts.append(say("progress.loss", loss=view.loss))
    if view.bits_per_byte is not None:
        parts.append(say("progress.held_out", bits=view.bits_per_byte))
    if view.tokens_per_s is not None:
        parts.append(say("progress.speed", rate=view.tokens_per_s))
    return parts


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float) -> str:
    """Bytes as a person reads them: 512 B, 3.2 MB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
