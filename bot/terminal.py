"""What the terminal front ends print: progress bars that a person likes to watch, plain lines where nobody does."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.text import Text

from bot.progress import figures, fraction, headline
from bot.records import JobView
from bot.strings import strings

SAY = strings()  # terminals are the operator's, and their language is English
PLAIN_LINE_EVERY_S = 5.0
BAR_CHARS = 24
BAR_COLUMNS_CHARS = BAR_CHARS + 30  # the bar with spinner, phase and percentage, and the spaces between


async def show_progress(console: Console, views: AsyncGenerator[JobView]) -> JobView:
    """Show a job's progress up to its end; returns how it ended."""
    async with aclosing(views):
        return await (_bars if console.is_terminal else _lines)(console, views)


async def _bars(console: Console, views: AsyncGenerator[JobView]) -> JobView:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<17}"),
        BarColumn(bar_width=BAR_CHARS),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task("starting", total=None, figures="")
        news = _News()
        async for view in views:
            for line in news.of(view):
                bars.console.print(line)
            done = fraction(view)
            bars.update(
                bar,
                description=headline(view, SAY),
                total=None if done is None else 1.0,
                completed=done or 0.0,
                figures=_fitting(figures(view, SAY), console.width - BAR_COLUMNS_CHARS),
            )
    return view


def _fitting(parts: list[str], room: int) -> str:
    """As many of the parts as a line has room for."""
    text = ""
    for part in parts:
        longer = f"{text} · {part}" if text else part
        if len(longer) > room:
            break
        text = longer
    return text


async def _lines(console: Console, views: AsyncGenerator[JobView]) -> JobView:
    news, last_headline, printed_at = _News(), "", 0.0
    async for view in views:
        for line in news.of(view):
            console.print(line, soft_wrap=True)
        text = headline(view, SAY)
        due = time.monotonic() - printed_at >= PLAIN_LINE_EVERY_S
        if text != last_headline or (due and figures(view, SAY)):
            done = fraction(view)
            parts = [text, *([f"{done:.0%}"] if done is not None else []), *figures(view, SAY)]
            console.print(" · ".join(parts), soft_wrap=True, highlight=False)
            last_headline, printed_at = text, time.monotonic()
    return view


class _News:
    """What is to be said once: notices, and the posts that the model writes while it learns."""

    def __init__(self) -> None:
        self._notices = 0
        self._sample: str | None = None

    def of(self, view: JobView) -> list[Text]:
        lines = [Text.assemble(("note:", "yellow"), " ", one_line(text)) for text in view.notices[self._notices :]]
        self._notices = max(self._notices, len(view.notices))
        if view.sample and view.sample != self._sample:
            self._sample = view.sample
            lines.append(Text.assemble(("so far:", "dim"), " ", (one_line(view.sample), "italic")))
        return lines


def one_line(text: str) -> str:
    """A post on one line, without control characters that a terminal would obey."""
    return "".join(c if c.isprintable() or c in "\u200d\ufe0f" else " " for c in " ".join(text.split()))
