"""What is typed at the console: completed while it is typed, taken apart afterwards."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from bot.plans import FILES, SOURCES
from models.errors import UserError
from models.records import Ground

HELP = {
    "/train": (
        "/train [@handle …] [FILE …] [ground=GROUND] [source=SOURCE] [name=NAME]",
        "learn a voice from an account on Bluesky, Mastodon or X, an archive, or a table of posts (CSV, JSON)",
    ),
    "/say": (
        "/say [model=NAME] [count=N] [creativity=…] [length=…] [seed=N] [how a post begins]",
        "posts in that voice",
    ),
    "/models": ("/models [info|use|rename|delete|restore NAME …]", "the models here, and what becomes of them"),
    "/jobs": ("/jobs [cancel N|retry N]", "trainings, running and past"),
    "/forget": ("/forget @handle [block]", "remove an account everywhere; with block, never learn it again"),
    "/status": ("/status", "how the house is"),
    "/help": ("/help", "this list"),
    "/quit": ("/quit", "leave (Ctrl-D does it too)"),
}
TRAIN_OPTIONS = {"ground": get_args(Ground), "source": SOURCES, "name": ()}
SAY_OPTIONS = ("model", "count", "seed", "creativity", "length")
WORDS = {"/jobs": ("cancel", "retry"), "/models": ("info", "use", "rename", "delete", "restore")}


class ConsoleCompleter(Completer):
    """Commands, then model names for /say, subcommands for /jobs and paths for /train."""

    def __init__(self, names: Callable[[], list[str]]) -> None:
        self._names = names
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        if not before.startswith("/"):
            return
        command, space, rest = before.partition(" ")
        word = rest.rpartition(" ")[2]
        if not space:
            yield from (Completion(name, -len(before)) for name in HELP if name.startswith(before))
        elif command == "/say" and word.startswith("model="):
            typed = word.removeprefix("model=")
            yield from (Completion(shlex.quote(n), -len(typed)) for n in self._names() if n.startswith(typed))
        elif command == "/say":
            options = [f"{option}=" for option in SAY_OPTIONS]
            yield from (Completion(o, -len(word)) for o in options if word and o.startswith(word))
        elif command in WORDS and " " not in rest:
            yield from (Completion(f"{w} ", -len(word)) for w in WORDS[command] if w.startswith(word))
        elif command == "/models":
            yield from (Completion(shlex.quote(n), -len(word)) for n in self._names() if n.startswith(word))
        elif command == "/train" and (found := [o for o in _train_words() if word and o.startswith(word)]):
            yield from (Completion(o, -len(word)) for o in found)
        elif command == "/train" and word and not word.startswith("@"):
            yield from self._paths.get_completions(Document(word), complete_event)


def options_of(words: list[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """(`name=value` words of these names, the other words)."""
    options, rest = {}, []
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in names:
            options[name] = value
        else:
            rest.append(word)
    return options, rest


def path_of(word: str) -> Path:
    return Path(word).expanduser()


def is_path(word: str) -> bool:
    """Whether it names a file rather than a handle or a link to a profile."""
    return not word.startswith(("https://", "http://")) and ("/" in word or Path(word).suffix.lower() in FILES)


def _train_words() -> list[str]:
    return [f"{option}={value}" for option, values in TRAIN_OPTIONS.items() for value in values or ("",)]


def number(what: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as exc:
        raise UserError(f"{what} has to be a whole number, not “{text[:40]}”.") from exc
