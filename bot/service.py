"""What Mockingbird does for people: train, cancel, say, and the lists. It knows no Discord.

The front ends only parse, call and render, so each feature works, and is tested, in all of them.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.config import Config
from bot.datadir import DataDir
from bot.engine import Engine, EngineDied
from bot.jobs import Jobs, model_name
from bot.records import HOUSE, Caller, Job, JobView, ModelVersion
from bot.registry import Registry
from models.errors import (
    AlreadyTraining,
    EngineTrouble,
    NoSource,
    NoSuchJob,
    NoSuchModel,
    OutOfRange,
    Unreadable,
    UserError,
)
from models.messages import Completed, Delta, Generate
from models.records import AccountSource

log = logging.getLogger(__name__)

MAX_COUNT = 5
MAX_HANDLES = 10
MAX_NAME_CHARS = 80
_HANDLE = re.compile(r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?(?:@[\w.-]+)?", re.ASCII)
_NAME = re.compile(r"[\w][\w .@~+-]*")

OnDelta = Callable[[Delta], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a `say`: whole posts, each beginning with the prompt."""

    model: ModelVersion
    prompt: str
    texts: tuple[str, ...]
    seed: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Status:
    """How the house is, in figures."""

    engine: str
    waiting_jobs: int
    models: int
    free_mb: int


class Service:
    """The commands. Open it with `async with open_service(…)`."""

    def __init__(self, config: Config, data: DataDir, registry: Registry, jobs: Jobs, engine: Engine) -> None:
        self.config = config
        self.registry = registry
        self.engine = engine
        self._data = data
        self._jobs = jobs
        self._models: list[ModelVersion] = []  # what autocomplete and `say` look in: never the disk
        jobs.on_model = self.read_models

    # --- training -----------------------------------------------------------------------------------------------------

    async def train(
        self, caller: Caller, *, handles: Sequence[str] = (), files: Sequence[Path] = (), name: str | None = None
    ) -> Job:
        """Queue a training of the accounts from the files; returns its job.

        Each ZIP and each JSONL file is one account, loose .js files together are one. Handles are matched to them in
        order; without handles the files tell. UserError says what is missing or wrong.
        """
        wanted = list(dict.fromkeys(_handle(h) for h in handles))
        if len(wanted) > MAX_HANDLES:
            raise OutOfRange("The number of accounts", len(wanted), allowed=f"at most {MAX_HANDLES}")
        for path in files:
            if not path.is_file():
                raise Unreadable(path.name, "there is no such file")
        groups = _group(files)
        if not groups and not wanted:
            raise UserError("Tell me what to learn from: an X archive (ZIP or tweets.js) or a JSONL file of posts.")
        if len(wanted) > len(groups):
            raise NoSource(wanted[len(groups)])
        if wanted and len(wanted) < len(groups):
            raise UserError(
                f"There are {len(groups)} accounts' files and {len(wanted)} handles. Name all of the accounts, or none."
            )
        accounts = [
            (AccountSource(source=source, handle=wanted[number] if wanted else None), paths)
            for number, (source, paths) in enumerate(groups)
        ]
        title = _name(name) if name else (model_name(wanted) if wanted else None)
        if title:
            for job in await self.registry.jobs(server_id=caller.server_id, active=True):
                if job.model and job.model.lower() == title.lower():
                    raise AlreadyTraining(title)
            if wanted:
                await self.registry.require_name(caller.server_id, title, wanted)
        return await self._jobs.add(caller, model=title, handles=wanted, accounts=accounts)

    async def cancel(self, caller: Caller, job_id: int) -> Job:
        """Stop a job of the caller, or with `may_manage` any of the server. NoSuchJob, JobIsOver, UserError."""
        job = await self.job(caller, job_id)
        if job.user_id != caller.user_id and not caller.may_manage:
            raise UserError("Only who started a training, or somebody who manages the server, can cancel it.")
        return await self._jobs.cancel(job)

    async def job(self, caller: Caller, job_id: int) -> Job:
        """The job, if it is of the caller's server; NoSuchJob."""
        try:
            job = await self.registry.job(job_id)
        except KeyError as exc:
            raise NoSuchJob(job_id) from exc
        if caller.server_id not in (HOUSE, job.server_id):
            raise NoSuchJob(job_id)
        return job

    async def jobs(self, caller: Caller, *, limit: int = 10) -> list[Job]:
        """The latest jobs of the caller's server; at the console of all."""
        return await self.registry.jobs(server_id=None if caller.server_id == HOUSE else caller.server_id, limit=limit)

    def watch(self, job_id: int) -> AsyncGenerator[JobView]:
        """The job as it is, and each time it has changed, up to its end."""
        return self._jobs.watch(job_id)

    async def show_job_at(self, job_id: int, channel_id: int, message_id: int) -> None:
        """Remember the message that shows a job's progress, so that it is taken up again after a restart."""
        await self._jobs.refresh(await self.registry.set_message(job_id, channel_id, message_id))

    @property
    def trainer_pid(self) -> int | None:
        return self._jobs.running_pid

    # --- speaking -----------------------------------------------------------------------------------------------------

    async def say(
        self,
        caller: Caller,
        *,
        prompt: str = "",
        model: str | None = None,
        count: int = 1,
        answers: str | None = None,
        seed: int | None = None,
        on_delta: OnDelta | None = None,
    ) -> Answer:
        """`count` posts in a model's voice; `answers` is a text to reply to. The same seed gives the same posts.

        NoSuchModel, OutOfRange or EngineTrouble. An engine that dies before anything was shown is asked once more.
        """
        if not 1 <= count <= MAX_COUNT:
            raise OutOfRange("The number of posts", count, allowed=f"between 1 and {MAX_COUNT}")
        limit = self.config.engine.max_prompt_chars
        if len(prompt) > limit:
            raise OutOfRange("A prompt", f"{len(prompt):,} characters long", allowed=f"at most {limit:,} characters")
        chosen = self.model(caller, model)
        seed = random.getrandbits(48) if seed is None else seed
        engine = self.config.engine
        request = Generate(
            id=0,
            model=str(self._data.models / chosen.folder),
            prompt=" ".join(prompt.split()),
            answers=answers[-limit:] if answers else None,
            count=count,
            temperature=engine.temperature,
            top_p=engine.top_p,
            max_tokens=engine.max_tokens,
            seed=seed,
            stream=on_delta is not None,
        )
        completed = await self._generate(request, on_delta)
        if not completed.texts:
            raise EngineTrouble("Nothing fit to be seen came out this time. Try again, or another prompt.")
        return Answer(model=chosen, prompt=request.prompt, texts=completed.texts, seed=seed, seconds=completed.seconds)

    async def _generate(self, request: Generate, on_delta: OnDelta | None) -> Completed:
        for attempt in (1, 2):
            shown = False
            try:
                async with aclosing(self.engine.generate(request)) as messages:
                    async for message in messages:
                        if isinstance(message, Completed):
                            return message
                        if on_delta:
                            shown = True
                            await on_delta(message)
            except EngineDied:
                if shown or attempt == 2:
                    raise
                log.warning("the engine died with a request in flight; asking the next one")
                await asyncio.sleep(0)  # let its owner notice before the next is asked
        raise AssertionError("the engine ended a request without an answer")

    # --- models -------------------------------------------------------------------------------------------------------

    async def read_models(self) -> None:
        """Read the list of models anew from the registry."""
        self._models = await self.registry.models()

    def models(self, caller: Caller) -> list[ModelVersion]:
        """The models that the caller may use, newest first: the server's own and the house's; at the console all."""
        if caller.server_id == HOUSE:
            return list(self._models)
        return [m for m in self._models if m.server_id in (caller.server_id, HOUSE)]

    def model(self, caller: Caller, name: str | None) -> ModelVersion:
        """The model of that name, the server's own before the house's; without a name the newest. NoSuchModel."""
        visible = sorted(self.models(caller), key=lambda m: m.server_id != caller.server_id)
        if name is None:
            newest = self.models(caller)
            if not newest:
                raise NoSuchModel(None)
            return newest[0]
        wanted = name.strip().removeprefix("@").lower()
        for model in visible:
            if model.name.lower() == wanted:
                return model
        names = [m.name for m in visible]
        near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
        raise NoSuchModel(name.strip(), known=near or names)

    async def status(self) -> Status:
        """How the house is."""
        ready = self.engine.ready
        return Status(
            engine=f"{ready.base} on {ready.device} in {ready.precision}" if ready else "starting",
            waiting_jobs=len(await self.registry.unfinished()),
            models=len(self._models),
            free_mb=self._data.free_mb,
        )


@asynccontextmanager
async def open_service(config: Config, data: DataDir, command: str) -> AsyncIterator[Service]:
    """The service on a data directory, with its queue running and its engine starting.

    SetupError if the directory is in use or can't be written. At the end the children are stopped; unfinished jobs go
    on at the next start.
    """
    async with AsyncExitStack() as stack:
        data.open(command)
        stack.callback(data.close)
        registry = await stack.enter_async_context(Registry.open(data.registry_file))
        jobs = Jobs(config, data, registry)
        engine = Engine(config.training.base, config.engine, grace_s=config.bot.stop_grace_s)
        service = Service(config, data, registry, jobs, engine)
        await service.read_models()
        await jobs.load()
        for name, loop in (("jobs", jobs.run()), ("engine", engine.run())):
            task = asyncio.create_task(loop, name=name)
            stack.push_async_callback(_end, task)
        yield service


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    except Exception:
        log.exception("%s ended badly", task.get_name())


def _handle(text: str) -> str:
    handle = text.strip().removeprefix("@")
    if len(handle) > 100 or not _HANDLE.fullmatch(handle):
        raise OutOfRange("A handle", f"“{text[:60]}”", allowed="letters, digits and underscores, like @nasa")
    return handle


def _name(text: str) -> str:
    name = text.strip().removeprefix("@")
    if len(name) > MAX_NAME_CHARS or not _NAME.fullmatch(name):
        raise OutOfRange(
            "A model's name", f"“{text[:60]}”", allowed=f"letters, digits, spaces and . _ -, at most {MAX_NAME_CHARS}"
        )
    return name


def _group(files: Sequence[Path]) -> list[tuple[str, list[Path]]]:
    """(source, its files) for each account. Unreadable for a kind of file that no source reads."""
    groups: list[tuple[str, list[Path]]] = []
    loose: list[Path] = []
    for path in files:
        match path.suffix.lower():
            case ".zip":
                groups.append(("x_archive", [path]))
            case ".js":
                if not loose:
                    groups.append(("x_archive", loose))
                loose.append(path)
            case ".jsonl" | ".ndjson" | ".json":
                groups.append(("jsonl", [path]))
            case _:
                raise Unreadable(path.name, "it is neither an X archive (.zip, tweets.js) nor posts as .jsonl")
    return groups
