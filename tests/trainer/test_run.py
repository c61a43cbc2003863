"""What a stage says of itself while it works, and while it waits for others."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from models.files import RunFolder
from models.messages import Message, Progress
from trainer import run as module
from trainer.run import CancelRequested, Run


class Heard:
    """Keeps what is sent to the parent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        self.messages.append(message)


@pytest.fixture
def parent() -> Heard:
    return Heard()


@pytest.fixture
def cancel() -> threading.Event:
    return threading.Event()


@pytest.fixture
def run(tmp_path: Path, parent: Heard, cancel: threading.Event) -> Run:
    return Run(RunFolder(tmp_path), parent, cancel)  # type: ignore[arg-type]


def test_who_waits_makes_the_last_report_again_so_that_it_is_not_taken_for_hung(
    run: Run, parent: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.wait()
    assert parent.messages == []  # nothing has been reported yet
    run.progress("collect", 0)
    run.wait()
    assert len(parent.messages) == 1  # not every time
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.0)
    run.wait()
    assert parent.messages == [Progress(phase="collect", done=0)] * 2


def test_who_waits_hears_a_cancel(run: Run, cancel: threading.Event) -> None:
    run.wait()
    cancel.set()
    with pytest.raises(CancelRequested):
        run.wait()
