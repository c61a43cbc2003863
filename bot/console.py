"""`python -m bot console`: the service without Discord, by the same commands."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory
from prompt_toolkit.patch_stdout import patch_stdout
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bot.console_input import HELP, SAY_OPTIONS, TRAIN_OPTIONS, ConsoleCompleter, is_path, number, options_of, path_of
from bot.forgetting import forget
from bot.library import KEEP_DELETED
from bot.progress import duration, size
from bot.records import CONSOLE, JobState, JobView, ModelVersion
from bot.sampling import Creativity, Length
from bot.service import Answer, Service
from bot.terminal import one_line, show_progress
from models.errors import JobIsOver, OutOfRange, UserError
from models.messages import Delta

T = TypeVar("T", bound=StrEnum)


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
            "/forget": self._forget,
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
        options, rest = options_of(words, *TRAIN_OPTIONS)
        for option, allowed in TRAIN_OPTIONS.items():
            if allowed and options.get(option, allowed[0]) not in allowed:
                raise OutOfRange(f"The {option}", options[option], allowed=f"one of {', '.join(allowed)}")
        files = [path_of(word) for word in rest if is_path(word)]
        handles = [word for word in rest if not is_path(word)]
        await self.train(handles=handles, files=files, **options)

    async def train(self, *, handles: Sequence[str], files: Sequence[Path], **options: Any) -> JobView | None:
        """Train, and show it up to its end; None if what it costs was not agreed to."""
        plan = await self._service.plan(CONSOLE, handles=handles, files=files, **options)
        job = await self._service.start(CONSOLE, plan)
        if plan.usd:
            question = f"Collecting the posts costs up to ${plan.usd:.2f}. Type yes to agree: "
            if (await asyncio.to_thread(input, question)).strip().lower() != "yes":
                await self._service.cancel(CONSOLE, job.id)
                self._console.print("Nothing was collected.")
                return None
            await self._service.confirm(CONSOLE, job.id)
        return await self.follow(job.id)

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
                model = self._service.library.find(CONSOLE, job.model)
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
        options, rest = options_of(words, *SAY_OPTIONS)
        await self.say(
            prompt=" ".join(rest),
            model=options.get("model"),
            count=number("The number of posts", options.get("count", "1")),
            creativity=_step("The creativity", Creativity, options.get("creativity", "usual")),
            length=_step("The length", Length, options.get("length", "usual")),
            seed=number("A seed", options["seed"]) if "seed" in options else None,
        )

    async def _reply(self, text: str) -> None:
        await self.say(answers=text)

    async def say(
        self,
        *,
        prompt: str = "",
        model: str | None = None,
        count: int = 1,
        creativity: Creativity = Creativity.USUAL,
        length: Length = Length.USUAL,
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
                model=self._service.library.find(CONSOLE, model),
                count=count,
                creativity=creativity,
                length=length,
                answers=[answers] if answers else [],
                seed=seed,
                on_delta=on_delta if self._console.is_terminal else None,
            )
        print_answer(self._console, answer)
        return answer

    async def _models(self, words: list[str]) -> None:
        library = self._service.library
        match words:
            case []:
                self._list_models()
            case ["info", name]:
                await self._show_model(library.find(CONSOLE, name))
            case ["use", name]:
                model = await library.use(CONSOLE, name)
                assert model
                self._console.print(f"[green]{escape(model.name)}[/] is spoken with from now on.")
            case ["rename", name, new_name]:
                self._console.print(f"It is called {escape((await library.rename(CONSOLE, name, new_name)).name)} now.")
            case ["delete", name]:
                model = await library.delete(CONSOLE, name)
                days = KEEP_DELETED.days
                self._console.print(f"{escape(model.name)} is deleted. For {days} days: /models restore {model.name}")
            case ["restore", name]:
                self._console.print(f"{escape((await library.restore(CONSOLE, name)).name)} is back.")
            case _:
                raise UserError(f"I know: {HELP['/models'][0]}")

    async def _show_model(self, model: ModelVersion) -> None:
        manifest = await self._service.library.manifest(model)
        versions = await self._service.library.versions(model)
        metrics = manifest.metrics
        table = Table("account", "downloaded", "reposts", "too short", "learned", box=None)
        for account in manifest.accounts:
            counts = (account.downloaded, account.retweets, account.short, account.learned)
            table.add_row(Text(f"@{account.handle}"), *(f"{count:,}" for count in counts))
        self._console.print(f"[bold]{escape(model.name)}[/], version {model.version}", highlight=False)
        self._console.print(table)
        for consent in await self._service.registry.consents(job_id=model.job_id):
            self._console.print(
                f"@{escape(consent.handle)}: asked for on {consent.asked_at:%Y-%m-%d}, on the ground: {consent.ground}",
                highlight=False,
            )
        self._console.print(
            f"held-out bits/byte {metrics.bits_per_byte_before:.3f} → {metrics.bits_per_byte_after:.3f}, "
            f"{manifest.method} fine-tuning of {escape(manifest.base)}, {metrics.steps:,} steps in "
            f"{duration(metrics.seconds)}\nversions: "
            + " · ".join(f"v{version.version} ({version.bits_per_byte:.3f})" for version in versions),
            highlight=False,
        )

    def _list_models(self) -> None:
        models = self._service.library.visible(CONSOLE)
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
        if words[:1] == ["retry"]:
            job = await self._service.retry(CONSOLE, number("A job's number", " ".join(words[1:]).lstrip("#")))
            await self.follow(job.id)
            return
        if words[:1] == ["cancel"]:
            job = await self._service.cancel(CONSOLE, number("A job's number", " ".join(words[1:]).lstrip("#")))
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

    async def _forget(self, words: list[str]) -> None:
        match words:
            case [handle]:
                receipt = await forget(self._service, CONSOLE, handle, block=False)
            case [handle, "block"]:
                receipt = await forget(self._service, CONSOLE, handle, block=True)
            case _:
                raise UserError(f"I know: {HELP['/forget'][0]}")
        gone = ", ".join(receipt.models) or "none"
        self._console.print(
            f"Receipt {receipt.number}: of @{escape(receipt.handle)}, removed everywhere: models: {escape(gone)}; "
            f"folders with posts: {receipt.runs}; training records: {receipt.jobs}; freed: {size(receipt.freed_bytes)}."
            + (" It is blocked from now on." if receipt.is_blocked else ""),
            highlight=False,
            soft_wrap=True,
        )

    async def _status(self, words: list[str]) -> None:
        status = await self._service.status()
        self._console.print(
            f"engine: {status.engine or 'starting'} · models: {status.models} · trainings running: "
            f"{status.running_jobs}, waiting: {status.waiting_jobs} · "
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
            history=FileHistory(str(self._history_file)), completer=ConsoleCompleter(lambda: self._names)
        )
        while True:
            self._names = [model.name for model in self._service.library.visible(CONSOLE)]
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


def _step(what: str, kind: type[T], word: str) -> T:
    """The named step that a word means."""
    try:
        return kind(word)
    except ValueError as exc:
        raise UserError(f"{what} can't be {word}: it has to be one of {', '.join(kind)}.") from exc


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
