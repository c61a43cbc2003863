"""What Mockingbird does for people: train, cancel, say, and the lists. It knows no Discord.

The front ends only parse, call and render, so each feature works, and is tested, in all of them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.children import OUR_PROGRAMS, Programs
from bot.config import Config
from bot.datadir import DataDir
from bot.engine import Engine, EngineDied
from bot.jobs import Jobs
from bot.library import Library
from bot.owners import Owners
from bot.permits import Permits, require
from bot.plans import (
    Plan,
    PlannedAccount,
    accounts_of,
    checked_name,
    cost_usd,
    digest_of,
    model_name,
    require_open_servers,
    require_x_api,
)
from bot.records import HOUSE, Caller, Job, JobView, ModelVersion
from bot.registry import Registry
from bot.sampling import Creativity, Length, temperature, token_range
from bot.settings import Settings
from models.errors import (
    AlreadyHere,
    AlreadyTraining,
    EngineTrouble,
    NoSuchJob,
    NotYourJob,
    OutOfRange,
    Restarting,
    StillFresh,
)
from models.messages import Completed, Delta, Generate
from models.records import Ground

log = logging.getLogger(__name__)

MAX_COUNT = 5
UPKEEP_EVERY_S = 3600.0
KEEP_FILES = timedelta(days=7)  # of a job that failed or was cancelled, so that it can be retried
CONFIRM_WITHIN = timedelta(hours=1)

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
    """How the house is, in figures. `engine` is None while it starts."""

    engine: str | None
    running_jobs: int
    waiting_jobs: int
    models: int
    free_mb: int


class Service:
    """The commands. Open it with `async with open_service(…)`."""

    def __init__(
        self, config: Config, data: DataDir, registry: Registry, jobs: Jobs, engine: Engine, owners: Owners
    ) -> None:
        self.config = config
        self.data = data
        self.registry = registry
        self.engine = engine
        self.settings = Settings(registry, config.limits)
        self.permits = Permits(config, registry, self.settings)
        self.library = Library(data, registry, engine.unload)
        self.owners = owners
        self._jobs = jobs
        self._draining = False
        self._saying = 0
        self._silent = asyncio.Event()  # nothing is being said
        self._silent.set()
        jobs.on_model = self.library.load
        jobs.on_accounts = lambda server_id, handles: require([self.permits.accounts(server_id, handles)])

    async def load(self) -> None:
        """Read everything that is kept in memory; before anything else."""
        await self.settings.load()
        await self.permits.load()
        await self.library.load()
        await self._jobs.load()

    # --- training -----------------------------------------------------------------------------------------------------

    async def plan(
        self,
        caller: Caller,
        *,
        handles: Sequence[str] = (),
        files: Sequence[Path] = (),
        source: str | None = None,
        name: str | None = None,
        ground: Ground | None = None,
    ) -> Plan:
        """What a training of these accounts would do; nothing has happened yet. UserError says why it can't be done."""
        self._require_running()
        accounts = accounts_of(handles, files, source, ground)
        require_x_api(accounts, is_on=self.owners.is_x_api_on)
        require_open_servers(accounts, self.config.sources.closed_servers)
        wanted = [account.handle for account in accounts if account.handle]
        require(await self.permits.training(caller, wanted))
        title = checked_name(name) if name else None
        if wanted and not title:
            title = await self.registry.name_of(caller.server_id, wanted) or model_name(wanted)
        if title:
            for job in await self.registry.jobs(server_id=caller.server_id, active=True):
                if job.model and job.model.lower() == title.lower():
                    raise AlreadyTraining(title)
            if wanted:
                await self.registry.require_name(caller.server_id, title, wanted)
        digest = await digest_of(accounts, self.config.training)
        here = [m for m in self.library.visible(caller) if m.server_id == caller.server_id]
        for model in here:
            if model.digest == digest and (title is None or title.lower() == model.name.lower()):
                self._require_stale(model, accounts)
        accounts = [await self.owners.proven(caller, account) for account in accounts]
        return Plan(
            name=title,
            accounts=tuple(accounts),
            digest=digest,
            max_posts=self.config.sources.max_posts,
            usd=cost_usd(accounts, self.config.sources, self.config.x_api),
            follows=next((m for m in here if title and m.name.lower() == title.lower()), None),
            ahead=await self._jobs.ahead_of_next(caller.server_id),
        )

    def _require_stale(self, model: ModelVersion, accounts: Sequence[PlannedAccount]) -> None:
        """AlreadyHere or StillFresh if the same again would bring nothing new."""
        if not any(account.is_fetched for account in accounts):
            raise AlreadyHere(model.name, version=model.version)
        again = model.created_at + timedelta(days=self.config.sources.fresh_days)
        if again > datetime.now(UTC):
            raise StillFresh(model.name, version=model.version, again=again)

    async def start(self, caller: Caller, plan: Plan) -> Job:
        """Queue the planned training; one that costs money waits for `confirm`."""
        self._require_running()
        require(await self.permits.training(caller, plan.handles))  # others may have started since it was planned
        job = await self._jobs.add(caller, plan)
        await self.owners.use_proofs(caller, plan.accounts)
        return job

    async def confirm(self, caller: Caller, job_id: int) -> Job:
        """Agree to what a training costs. Only who asked for it can. JobIsOver if it waited too long."""
        job = await self.job(caller, job_id)
        if job.user_id != caller.user_id:
            raise NotYourJob(job_id)
        return job if job.confirmed and not job.state.is_over else await self._jobs.confirm(job)

    async def retry(self, caller: Caller, job_id: int) -> Job:
        """Another job that goes on where a failed or cancelled one ended."""
        self._require_running()
        job = await self.job(caller, job_id)
        require(await self.permits.training(caller, job.handles))
        return await self._jobs.retry(caller, job)

    async def cancel(self, caller: Caller, job_id: int) -> Job:
        """Stop a job of the caller, or with `may_manage` any of the server. NoSuchJob, JobIsOver, UserError."""
        job = await self.job(caller, job_id)
        if job.user_id != caller.user_id and not caller.may_manage:
            raise NotYourJob(job_id)
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

    async def jobs(self, caller: Caller, *, limit: int = 10, skip: int = 0) -> list[Job]:
        """The latest jobs of the caller's server; at the console of all."""
        server_id = None if caller.server_id == HOUSE else caller.server_id
        return await self.registry.jobs(server_id=server_id, limit=limit, skip=skip)

    def watch(self, job_id: int) -> AsyncGenerator[JobView]:
        """The job as it is, and each time it has changed, up to its end."""
        return self._jobs.views.watch(job_id)

    async def show_job_at(self, job_id: int, channel_id: int, message_id: int) -> Job:
        """Remember the message that shows a job's progress, so that it is taken up again after a restart."""
        job = await self.registry.set_message(job_id, channel_id, message_id)
        await self._jobs.views.refresh(job)
        return job

    @property
    def trainer_pids(self) -> list[int]:
        return self._jobs.pids

    # --- speaking -----------------------------------------------------------------------------------------------------

    async def say(
        self,
        caller: Caller,
        *,
        model: ModelVersion | None = None,
        prompt: str = "",
        answers: Sequence[str] = (),
        count: int = 1,
        creativity: Creativity = Creativity.USUAL,
        length: Length = Length.USUAL,
        seed: int | None = None,
        on_delta: OnDelta | None = None,
    ) -> Answer:
        """`count` posts in a model's voice, by default the channel's. The same seed gives the same posts.

        `answers` are the texts that led up to it, oldest first; the last is the one to reply to. NoSuchModel,
        NotAllowed, OutOfRange or EngineTrouble. An engine that dies before anything was shown is asked once more.
        """
        self.require_say(caller, prompt=prompt, count=count)
        engine = self.config.engine
        chosen = model or self.library.default(caller)
        self.permits.count_ask(caller)
        fewest, most = token_range(engine, length)
        request = Generate(
            id=0,
            model=str(self.data.models / chosen.folder),
            prompt=" ".join(prompt.split()),
            answers=_latest(answers, engine.max_prompt_chars),
            count=count,
            temperature=temperature(engine, creativity),
            top_p=engine.top_p,
            min_tokens=fewest,
            max_tokens=most,
            seed=random.getrandbits(48) if seed is None else seed,
            stream=on_delta is not None,
        )
        self._saying += 1
        self._silent.clear()
        try:
            completed = await self._generate(request, on_delta)
        finally:
            self._saying -= 1
            if not self._saying:
                self._silent.set()
        if not completed.texts:
            raise EngineTrouble("Nothing fit to be seen came out this time. Try again, or another prompt.")
        return Answer(
            model=chosen, prompt=request.prompt, texts=completed.texts, seed=request.seed, seconds=completed.seconds
        )

    def require_say(self, caller: Caller, *, prompt: str = "", count: int = 1) -> None:
        """What `say` would raise at once, before the engine is asked."""
        self._require_running()
        require(self.permits.speaking(caller))
        if not 1 <= count <= MAX_COUNT:
            raise OutOfRange("The number of posts", count, allowed=f"between 1 and {MAX_COUNT}")
        limit = self.config.engine.max_prompt_chars
        if len(prompt) > limit:
            raise OutOfRange("A prompt", f"{len(prompt):,} characters long", allowed=f"at most {limit:,} characters")

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

    # --- the house ----------------------------------------------------------------------------------------------------

    async def status(self) -> Status:
        """How the house is."""
        ready = self.engine.ready
        unfinished = await self.registry.unfinished()
        running = sum(job.state != "queued" for job in unfinished)
        return Status(
            engine=f"{ready.base} on {ready.device} in {ready.precision}" if ready else None,
            running_jobs=running,
            waiting_jobs=len(unfinished) - running,
            models=len(self.library.visible(Caller(server_id=HOUSE, user_id=0))),
            free_mb=self.data.free_mb,
        )

    async def drain(self) -> None:
        """Take no more work, let running trainings write a checkpoint, and finish what is being said."""
        self._draining = True
        await self._jobs.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.bot.stop_grace_s):
                await self._silent.wait()

    async def tidy(self) -> None:
        """Drop what was kept long enough: deleted models, the files of failed jobs, plans that nobody agreed to."""
        now = datetime.now(UTC)
        await self.library.purge()
        await self._jobs.tidy(older_than=now - KEEP_FILES)
        for job in await self.registry.unfinished():
            if not job.confirmed and job.created_at < now - CONFIRM_WITHIN:
                await self._jobs.cancel(job)

    async def keep_tidy(self) -> None:
        """Tidy now and then, until cancelled."""
        while True:
            try:
                await self.tidy()
            except Exception:
                log.exception("tidying failed")
            await asyncio.sleep(UPKEEP_EVERY_S)

    def _require_running(self) -> None:
        if self._draining:
            raise Restarting


@asynccontextmanager
async def open_service(
    config: Config, data: DataDir, command: str, *, programs: Programs = OUR_PROGRAMS
) -> AsyncIterator[Service]:
    """The service on a data directory, with its queue running and its engine starting.

    SetupError if the directory is in use or can't be written. At the end the children are stopped; unfinished jobs go
    on at the next start.
    """
    async with AsyncExitStack() as stack:
        data.open(command)
        stack.callback(data.close)
        registry = await stack.enter_async_context(Registry.open(data.registry_file))
        jobs = Jobs(config, data, registry, program=programs.trainer)
        base, grace_s = config.training.base, config.bot.stop_grace_s
        engine = Engine(base, config.engine, grace_s=grace_s, program=programs.engine)
        service = Service(
            config, data, registry, jobs, engine, Owners(config, data, registry, program=programs.trainer)
        )
        await service.load()
        for name, loop in (("jobs", jobs.run()), ("engine", engine.run()), ("upkeep", service.keep_tidy())):
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


def _latest(texts: Sequence[str], limit: int) -> tuple[str, ...]:
    """The latest of the texts that together have at most `limit` characters; the last one is cut if need be."""
    kept: list[str] = []
    for text in reversed([text for text in texts if text.strip()]):
        if kept and len(text) > limit:
            break
        kept.insert(0, text[-limit:])
        limit -= len(text)
    return tuple(kept)
