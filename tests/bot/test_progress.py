"""How far a job is, in words, and as it is shown in a terminal that is none."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from typing import get_args

import pytest
from rich.console import Console

from bot.progress import duration, figures, fraction, headline
from bot.records import Job, JobState, JobView
from bot.strings import strings
from bot.terminal import one_line, show_progress
from models.messages import Phase

SAY = strings()


def view(state: JobState = JobState.FITTING, **changes: object) -> JobView:
    job = Job(
        id=3,
        server_id=0,
        user_id=0,
        channel_id=None,
        message_id=None,
        announced=False,
        model="robin",
        handles=("robin",),
        state=state,
        cancel_requested=False,
        confirmed=True,
        breakdowns=0,
        version=None,
        error=None,
        digest=None,
        created_at=datetime(2024, 5, 6, tzinfo=UTC),
        started_at=None,
        ended_at=None,
    )
    return replace(JobView(job=job), **changes)  # type: ignore[arg-type]


async def shown(*views: JobView, terminal: bool = False) -> tuple[str, JobView]:
    """What is printed for the views, and what is returned."""

    async def given() -> AsyncGenerator[JobView]:
        for one in views:
            yield one

    file = StringIO()
    console = Console(file=file, force_terminal=terminal, width=100)
    last = await show_progress(console, given())
    return file.getvalue(), last


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (view(JobState.QUEUED, position=2), "waiting, number 2 in the queue"),
        (view(JobState.QUEUED), "waiting"),
        (view(JobState.COLLECTING), "starting"),
        (view(JobState.COLLECTING, phase="collect"), "collecting posts"),
        (view(phase="train"), "training"),
        (view(JobState.SAVING, phase="save"), "saving"),
        (view(JobState.DONE, phase="train"), "done"),
        (view(JobState.FAILED), "failed"),
        (view(JobState.CANCELLED), "cancelled"),
    ],
)
def test_headline_is_the_phase_while_it_runs_else_the_state(given: JobView, expected: str) -> None:
    assert headline(given, SAY) == expected


@pytest.mark.parametrize("phase", get_args(Phase))
def test_every_phase_of_the_protocol_has_a_headline(phase: Phase) -> None:
    assert headline(view(phase=phase), SAY) not in ("", "starting")


@pytest.mark.parametrize(("done", "total", "expected"), [(0, None, None), (5, 0, None), (1, 4, 0.25), (9, 4, 1.0)])
def test_fraction_is_none_while_unknown_and_never_over_one(
    done: int, total: int | None, expected: float | None
) -> None:
    assert fraction(view(done=done, total=total)) == expected


def test_figures_are_only_those_that_are_known() -> None:
    assert figures(view(), SAY) == []
    assert figures(view(loss=0.0, eta_s=0.0), SAY) == ["0 s left", "loss 0.00"]


def test_figures_have_their_units() -> None:
    everything = view(phase="collect", done=12_345, eta_s=61, loss=3.14159, bits_per_byte=1.23456, tokens_per_s=9876.5)
    assert figures(everything, SAY) == [
        "12,345 posts",
        "1 min 1 s left",
        "loss 3.14",
        "held-out 1.235 bits/byte",
        "9,876 tokens/s",
    ]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (3599.7, "1 h 0 min"),
        (7800, "2 h 10 min"),
        (90_061, "25 h 1 min"),
    ],
)
def test_duration_reads_as_a_person_says_it(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


# --- a terminal that is none ------------------------------------------------------------------------------------------


async def test_plain_lines_tell_phase_percent_and_loss() -> None:
    ended = view(JobState.DONE)
    text, last = await shown(
        view(JobState.QUEUED, position=1),
        view(JobState.COLLECTING, phase="collect", done=1500),
        view(phase="train", done=1, total=4, loss=3.217, eta_s=65),
        ended,
    )
    assert text.splitlines() == [
        "waiting, number 1 in the queue",
        "collecting posts · 1,500 posts",
        "training · 25% · 1 min 5 s left · loss 3.22",
        "done",
    ]
    assert last is ended


async def test_plain_lines_are_not_printed_for_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [view(phase="train", done=done, total=100, loss=2.0) for done in range(100)]
    text, _ = await shown(*steps)
    assert text == "training · 0% · loss 2.00\n"
    monkeypatch.setattr("bot.terminal.PLAIN_LINE_EVERY_S", 0.0)
    text, _ = await shown(*steps)
    assert len(text.splitlines()) == 100


async def test_long_plain_line_is_not_broken() -> None:
    text, _ = await shown(view(notices=("word " * 60 + "end",)))
    assert text.splitlines()[0] == "note: " + "word " * 60 + "end"


@pytest.mark.parametrize("terminal", [False, True])
async def test_notices_are_printed_once(terminal: bool) -> None:
    text, _ = await shown(
        view(phase="load", notices=("first",)),
        view(phase="load", notices=("first", "second"), done=1),
        view(phase="train", notices=("first", "second")),
        terminal=terminal,
    )
    assert text.count("first") == text.count("second") == 1


@pytest.mark.parametrize("terminal", [False, True])
async def test_sample_is_printed_when_it_is_new(terminal: bool) -> None:
    text, _ = await shown(
        view(sample="the kettle sang"), view(sample="the kettle sang", done=1), view(sample="a tram"), terminal=terminal
    )
    assert text.count("the kettle sang") == text.count("a tram") == 1


async def test_control_characters_of_a_sample_do_not_reach_the_terminal() -> None:
    text, _ = await shown(view(sample="red\x1b[31m\x1b]0;title\x07 back\b\rline\nnext\u202e\x9b2J\u200b end"))
    sample = text.splitlines()[0]
    assert sample.startswith("so far: red")
    assert all(c.isprintable() for c in sample)
    assert len(text.splitlines()) == 2  # it and the headline


async def test_control_characters_of_a_notice_do_not_reach_the_terminal() -> None:
    text, _ = await shown(view(notices=("of \x1b[31m@robin\x1b[2J\u202e",)))
    assert all(c.isprintable() or c == "\n" for c in text)


@pytest.mark.parametrize(
    "said",
    [
        "[bold]x[/bold] [/] [link=x]",
        "a list[int] \\[x]",
        pytest.param("ends in \\"),
        pytest.param("so :fire: :)"),
    ],
)
async def test_sample_and_notice_are_printed_as_they_are(said: str) -> None:
    text, _ = await shown(view(sample=said, notices=(said,)))
    assert text.splitlines()[:2] == [f"note: {said}", f"so far: {said}"]


def test_one_line_keeps_emoji_whole() -> None:
    assert one_line("a\n\tfamily: 👩‍👩‍👧 ❤️\x00") == "a family: 👩‍👩‍👧 ❤️ "
