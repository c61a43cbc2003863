"""`python -m bot console`: the service without Discord, by the same commands."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory
from prompt_toolkit.patch_stdout import patch_stdout
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bot.progress import duration
from bot.records import CONSOLE, JobState, JobView, ModelVersion
from bot.service import MAX_COUNT, Answer, Service
from bot.terminal import one_line, show_progress
from models.errors import JobIsOver, UserError
from models.messages import Delta

HELP = {
    "/train": ("/train [@handle …] FILE… [name=NAME]", "learn a voice from an X archive (ZIP, tweets.js) or .jsonl"),
    "/say": ("/say [model=NAME] [count=N] [seed=N] [how a post begins]", f"posts in that voice, 1 to {MAX_COUNT}"),
    "/models": ("/models", "the models here"),
    "/jobs": ("/jobs [cancel N]", "trainings, running and past"),
    "/status": ("/status", "how the house is"),
    "/help": ("/help", "this list"),
    "/quit": ("/quit", "leave (Ctrl-D does it too)"),
}


class ConsoleFront:
    """Reads commands, calls the service, prints what comes back."""

    def __init__(self, service: Service, console: Console, history_file: Path) -> None:
        self._service = service
        self._console = console
        self._history_file = history_file
        self._names: list[str] = []  # of the models, for completion
        self._task: asyncio.Task[None] | None = None  # what runs
        self._commands: dict[str, Callable[[list[str]], Awaitable[None]]] = {
            "/train": self._train,
            "/say": self._say,
            "/models": self._models,
            "/jobs": self._jobs,
            "/status": self._status,
            "/help": self._help,
        }

    async def run(self) -> None:
        """Serve until the person leaves. Ctrl-C cancels what runs, and not the program."""
        self._console.print("[bold]Mockingbird[/]. /help shows what you can type; Ctrl-D leaves.")
        for job in await self._service.jobs(CONSOLE):
            if not job.state.is_over:
                self._console.print(
                    f"Job #{job.id} ({escape(job.title)}) goes on where it was. /jobs shows how far it is."
                )
        async for line in self._lines():
            if line.split()[:1] == ["/quit"]:
                return
            # Anew each time: the prompt takes the signal for itself and leaves nothing in its place.
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
            self._task = asyncio.create_task(self.do(line))
            try:
                await self._task
            except asyncio.CancelledError:
                if not self._task.cancelled():
                    raise
                self._console.print("[yellow]cancelled[/]")
            finally:
                self._task = None

    def _interrupt(self) -> None:
        if self._task:
            self._task.cancel()

    async def do(self, line: str) -> None:
        """One line as typed. What the person can mend is said in red; nothing ends the program."""
        try:
            words = shlex.split(line) if line.startswith("/") else []
        except ValueError as exc:
            self._error(f"I can't read that line: {exc}.")
            return
        try:
            if not words:
                await self._reply(line)
            elif command := self._commands.get(words[0]):
                await command(words[1:])
            else:
                self._error(f"There is no {words[0]}. /help shows what there is.")
        except UserError as exc:
            self._error(str(exc))

    # --- commands -----------------------------------------------------------------------------------------------------

    async def _train(self, words: list[str]) -> None:
        options, rest = _options(words, "name")
        files = [_path(word) for word in rest if _is_path(word)]
        handles = [word for word in rest if not _is_path(word)]
        job = await self._service.train(CONSOLE, handles=handles, files=files, name=options.get("name"))
        await self.follow(job.id)

    async def follow(self, job_id: int) -> JobView:
        """Show a job up to its end; Ctrl-C cancels the job."""
        shown = asyncio.create_task(show_progress(self._console, self._service.watch(job_id)))
        try:
            view = await asyncio.shield(shown)
        except asyncio.CancelledError:
            with suppress(JobIsOver):
                await self._service.cancel(CONSOLE, job_id)
            view = await shown
        job = view.job
        match job.state:
            case JobState.DONE:
                model = self._service.model(CONSOLE, job.model)
                self._console.print(
                    f"[green]{escape(model.name)}[/], version {model.version}, has learned from {model.posts:,} posts: "
                    f"{model.bits_per_byte:.3f} bits per byte on posts that it had not seen. "
                    f"Try: [bold]/say model={escape(model.name)}[/]",
                    soft_wrap=True,
                )
            case JobState.CANCELLED:
                self._console.print(f"Job #{job.id} is cancelled.")
            case _:
                self._error(f"Job #{job.id} failed. {job.error}")
        return view

    async def _say(self, words: list[str]) -> None:
        options, rest = _options(words, "model", "count", "seed")
        await self.say(
            prompt=" ".join(rest),
            model=options.get("model"),
            count=_number("The number of posts", options.get("count", "1")),
            seed=_number("A seed", options["seed"]) if "seed" in options else None,
        )

    async def _reply(self, text: str) -> None:
        await self.say(answers=text)

    async def say(
        self,
        *,
        prompt: str = "",
        model: str | None = None,
        count: int = 1,
        seed: int | None = None,
        answers: str | None = None,
    ) -> Answer:
        """Ask for posts, show the drafts while they grow, and print what came of it."""
        drafts: dict[int, str] = {}
        with Live(console=self._console, transient=True, refresh_per_second=12) as live:

            async def on_delta(delta: Delta) -> None:
                drafts[delta.index] = drafts.get(delta.index, prompt) + delta.text
                live.update(Text("\n".join(f"  {one_line(drafts[i])}▌" for i in sorted(drafts)), style="dim"))

            answer = await self._service.say(
                CONSOLE,
                prompt=prompt,
                model=model,
                count=count,
                answers=answers,
                seed=seed,
                on_delta=on_delta if self._console.is_terminal else None,
            )
        print_answer(self._console, answer)
        return answer

    async def _models(self, words: list[str]) -> None:
        models = self._service.models(CONSOLE)
        if not models:
            self._console.print("There is no model yet. /train makes one.")
            return
        table = Table("model", "version", "accounts", "posts", "bits/byte", "trained", box=None)
        for model in models:
            table.add_row(
                Text(model.name),
                str(model.version),
                Text(", ".join(f"@{handle}" for handle in model.handles)),
                f"{model.posts:,}",
                f"{model.bits_per_byte:.3f}",
                f"{model.created_at:%Y-%m-%d %H:%M}",
            )
        self._console.print(table)

    async def _jobs(self, words: list[str]) -> None:
        if words[:1] == ["cancel"]:
            job = await self._service.cancel(CONSOLE, _number("A job's number", " ".join(words[1:]).lstrip("#")))
            self._console.print(f"Job #{job.id} is being cancelled.")
            return
        jobs = await self._service.jobs(CONSOLE)
        if not jobs:
            self._console.print("There has been no training yet.")
            return
        table = Table("job", "model", "state", "took", "", box=None)
        for job in jobs:
            took = duration((job.ended_at - job.created_at).total_seconds()) if job.ended_at else ""
            table.add_row(f"#{job.id}", Text(job.title), job.state.value, took, Text(job.error or ""))
        self._console.print(table)

    async def _status(self, words: list[str]) -> None:
        status = await self._service.status()
        self._console.print(
            f"engine: {status.engine} · {status.models} model(s) · {status.waiting_jobs} jobs to do · "
            f"{status.free_mb:,} MB of disk free",
            highlight=False,
        )

    async def _help(self, words: list[str]) -> None:
        table = Table(box=None, show_header=False)
        for usage, about in HELP.values():
            table.add_row(Text(usage, style="bold"), about)
        table.add_row(Text("anything else", style="bold"), "is said to the newest model, which answers")
        self._console.print(table)

    # --- lines --------------------------------------------------------------------------------------------------------

    async def _lines(self) -> AsyncIterator[str]:
        """What is typed, line by line; from a pipe as it is, at a terminal with history and completion."""
        if not sys.stdin.isatty():
            while line := await asyncio.to_thread(sys.stdin.readline):
                if line.strip():
                    self._console.print(f"> {escape(line.strip())}", highlight=False, soft_wrap=True)
                    yield line.strip()
            return
        session: PromptSession[str] = PromptSession(
            history=FileHistory(str(self._history_file)), completer=_Completer(lambda: self._names)
        )
        while True:
            self._names = [model.name for model in self._service.models(CONSOLE)]
            try:
                with patch_stdout(raw=True):
                    line = await session.prompt_async("mockingbird> ")
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            if line.strip():
                yield line.strip()

    def _error(self, text: str) -> None:
        self._console.print(f"[red]{escape(text)}[/]", highlight=False, soft_wrap=True)


def print_answer(console: Console, answer: Answer) -> None:
    """The posts of an answer: prompt in bold, and whose voice it is not."""
    for text in answer.texts:
        shown = one_line(text)
        post = Text(shown)
        post.stylize("bold", 0, len(answer.prompt) if shown.startswith(answer.prompt) else 0)
        console.print(Text("  “") + post + Text("”"), soft_wrap=True)
    console.print(
        f"[dim]  AI imitation of {escape(_accounts(answer.model))}, model {escape(answer.model.name)} "
        f"v{answer.model.version}, seed {answer.seed}, {answer.seconds:.1f} s[/]",
        highlight=False,
        soft_wrap=True,
    )


def _accounts(model: ModelVersion) -> str:
    return " & ".join(f"@{handle}" for handle in model.handles)


class _Completer(Completer):
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
            yield from (Completion(o, -len(word)) for o in ("model=", "count=", "seed=") if word and o.startswith(word))
        elif command == "/jobs" and "cancel".startswith(word):
            yield Completion("cancel ", -len(word))
        elif command == "/train" and word and not word.startswith("@"):
            yield from self._paths.get_completions(Document(word), complete_event)


def _options(words: list[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """(`name=value` words of these names, the other words)."""
    options, rest = {}, []
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in names:
            options[name] = value
        else:
            rest.append(word)
    return options, rest


def _path(word: str) -> Path:
    return Path(word).expanduser()


def _is_path(word: str) -> bool:
    return "/" in word or Path(word).suffix.lower() in (".zip", ".js", ".json", ".jsonl", ".ndjson")


def _number(what: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as exc:
        raise UserError(f"{what} has to be a whole number, not “{text[:40]}”.") from exc
