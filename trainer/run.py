"""The child process of one stage: its channel to the bot, and its exactly one last word."""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from models.child import Channel
from models.files import RunFolder
from models.messages import Cancelled, Done, Notice, Phase, Progress, Sample

PROGRESS_EVERY_S = 0.5
HEARTBEAT_S = 30.0  # of who waits for somebody else; the parent takes long silence for a hang


class CancelRequested(Exception):
    """SIGTERM came: the stage is to stop at its next step."""


class Run:
    """What a stage knows of its parent: where to report, and whether to stop."""

    def __init__(self, folder: RunFolder, channel: Channel, cancel: threading.Event) -> None:
        self.folder = folder
        self._channel = channel
        self._cancel = cancel
        self._reported_at = 0.0
        self._report: Progress | None = None

    def check(self) -> None:
        """Raise CancelRequested if the parent asked to stop."""
        if self._cancel.is_set():
            raise CancelRequested

    def wait(self) -> None:
        """The same, often called while waiting for somebody else: now and then the last report is made again."""
        self.check()
        if self._report and time.monotonic() - self._reported_at >= HEARTBEAT_S:
            self._reported_at = time.monotonic()
            self._channel.send(self._report)

    def progress(
        self,
        phase: Phase,
        done: int,
        total: int | None = None,
        *,
        eta_s: float | None = None,
        loss: float | None = None,
        bits_per_byte: float | None = None,
        tokens_per_s: float | None = None,
    ) -> None:
        """Report, at most twice a second but always the beginning and the end of a phase."""
        self.check()
        now = time.monotonic()
        if done not in (0, total) and now - self._reported_at < PROGRESS_EVERY_S:
            return
        self._reported_at = now
        self._report = Progress(
            phase=phase,
            done=done,
            total=total,
            eta_s=eta_s,
            loss=loss,
            bits_per_byte=bits_per_byte,
            tokens_per_s=tokens_per_s,
        )
        self._channel.send(self._report)

    def sample(self, step: int, text: str) -> None:
        self._channel.send(Sample(step=step, text=text))

    def notice(self, text: str) -> None:
        self._channel.send(Notice(text=text))


def run_stage(role: str, path: Path, stage: Callable[[Run], None]) -> int:
    """Run the stage in this process and say how it ended; returns the exit code."""
    cancel = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: cancel.set())  # before the hello: from then on one may come
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the bot, which then tells us
    channel = Channel(role, nice=10)
    try:
        stage(Run(RunFolder(path), channel, cancel))
    except CancelRequested:
        channel.send(Cancelled())
        return 0
    except Exception as exc:
        traceback.print_exc(file=sys.stderr)
        channel.fail(exc)
        return 1
    channel.send(Done())
    return 0
