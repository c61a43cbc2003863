"""`python -m bot demo`: the whole thread on a made-up account that comes with the project, by itself."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from bot.console import ConsoleFront
from bot.progress import duration
from bot.records import JobState
from bot.service import Service
from models.errors import AlreadyHere

SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "nightbus_nell.zip"
NAME = "nightbus_nell"
LINES = (
    f"/say model={NAME} count=3",
    f"/say model={NAME} my dream is",
    f"/say model={NAME} the last bus",
    "what is the best soup?",
)


async def run_demo(service: Service, console: Console, history_file: Path) -> int:
    """Train on the sample, print posts in that voice, say what to type next; returns the exit code."""
    started = time.monotonic()
    front = ConsoleFront(service, console, history_file)
    console.print(Rule("Mockingbird"))
    console.print(
        f"@{NAME} drives a night bus in a town that does not exist. Here is her X archive, {SAMPLE.name}. "
        "A language model is now learning to write like her, on this machine and from nothing but this file.\n",
        soft_wrap=True,
    )
    try:
        view = await front.train(handles=[NAME], files=[SAMPLE])
    except AlreadyHere:
        console.print("She has been learned before, so the model is here already.")
    else:
        if view is None or view.job.state != JobState.DONE:
            return 1
    console.print(f"\nPosts that @{NAME} never wrote:\n")
    for line in LINES:
        console.print(f"> {line}", style="bold", highlight=False)
        await front.do(line)
    console.print(f"\nAll that took {duration(time.monotonic() - started)}. What to type next:\n")
    console.print(
        "  .venv/bin/python -m bot console     then: /say model=nightbus_nell the moon\n"
        "                                            /train PATH/TO/your-x-archive.zip\n"
        "  .venv/bin/python -m bot check       is everything ready for Discord?\n"
        "  .venv/bin/python -m bot run         the Discord bot (README.md: set-up, step by step)",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return 0
