"""How far a job is, in words: shared by the terminal's bar and Discord's message."""

from __future__ import annotations

from bot.records import JobState, JobView

_PHASES = {
    "collect": "collecting posts",
    "clean": "cleaning",
    "load": "loading the base",
    "train": "training",
    "evaluate": "measuring",
    "save": "saving",
}


def headline(view: JobView) -> str:
    """What is being done: the phase while it runs, else the state."""
    match view.job.state:
        case JobState.QUEUED:
            return f"waiting, number {view.position} in the queue" if view.position else "waiting"
        case JobState.DONE | JobState.FAILED | JobState.CANCELLED:
            return view.job.state.value
        case _:
            return _PHASES[view.phase] if view.phase else "starting"


def fraction(view: JobView) -> float | None:
    """How much of the phase is done, 0 to 1; None while that is unknown."""
    return min(1.0, view.done / view.total) if view.total else None


def figures(view: JobView) -> list[str]:
    """The figures known so far, each as text with its unit."""
    parts = []
    if view.phase == "collect" and view.done:
        parts.append(f"{view.done:,} posts")
    if view.eta_s is not None:
        parts.append(f"{duration(view.eta_s)} left")
    if view.loss is not None:
        parts.append(f"loss {view.loss:.2f}")
    if view.bits_per_byte is not None:
        parts.append(f"held-out {view.bits_per_byte:.3f} bits/byte")
    if view.tokens_per_s is not None:
        parts.append(f"{view.tokens_per_s:,.0f} tokens/s")
    return parts


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
