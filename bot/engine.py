"""The bot's end of the engine: one long-lived child, started again when it dies, and the requests in flight."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

import msgspec

from bot.children import OUR_PROGRAMS, Child
from models.engine.settings import EngineSettings
from models.errors import ChildError, EngineTrouble
from models.messages import Cancel, Completed, Delta, Failed, Generate, Message, Ready, Refused, Stopped, Unload

log = logging.getLogger(__name__)

RESTART_DELAYS_S = (0.0, 0.0, 5.0, 30.0, 60.0)  # after that many deaths in a row


class EngineDied(EngineTrouble):
    """The engine went down with the request in flight; asking again finds a fresh one."""

    def __init__(self) -> None:
        super().__init__("The engine stopped while it was answering. It is starting again: please ask once more.")


class Engine:
    """Owns the engine process. `run` keeps it alive; `generate` asks it."""

    def __init__(
        self, base: str, settings: EngineSettings, *, grace_s: float, program: Sequence[str] = OUR_PROGRAMS.engine
    ) -> None:
        self._program = program
        self._base = base
        self._settings = settings
        self._grace_s = grace_s
        self._child: Child | None = None
        self._ready = asyncio.Event()
        self._failure: str | None = None
        self._requests: dict[int, asyncio.Queue[Message | None]] = {}
        self._ids = itertools.count(1)
        self.ready: Ready | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    async def run(self) -> None:
        """Start the engine, and start it again when it dies, until cancelled."""
        deaths = 0
        while True:
            try:
                await self._serve()
            except ChildError as exc:
                log.error("engine: %s", exc)
                deaths = 1 if self.ready else deaths + 1  # one that had got ready gets a fresh count
                if deaths > 1 and self._failure is None:
                    self._failure = (
                        "The engine does not start. The operator finds the reason in the log, or with: "
                        "python -m bot check"
                    )
            finally:
                self._child, self.ready = None, None
                self._ready.clear()
                for waiting in self._requests.values():
                    waiting.put_nowait(None)
            if self._failure:
                self._ready.set()  # nobody waits for what does not come
            await asyncio.sleep(RESTART_DELAYS_S[min(deaths, len(RESTART_DELAYS_S) - 1)])

    async def wait_ready(self) -> Ready:
        """What the engine says of itself once its base is loaded; EngineTrouble with the reason if it can't be."""
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await self._ready.wait()
        except TimeoutError as exc:
            raise EngineTrouble("The engine is still starting. Try again in a moment.") from exc
        if self.ready is None:
            raise EngineTrouble(self._failure or "The engine is starting again. Try again in a moment.")
        return self.ready

    async def generate(self, request: Generate) -> AsyncGenerator[Delta | Completed]:
        """Drafts as they grow, if the request streams, and at last the answer.

        EngineTrouble if it can't be had: too many wait, the engine refuses, is down, or takes too long.
        """
        if len(self._requests) >= self._settings.max_waiting:
            raise EngineTrouble("Too many people are asking at once. Try again in a moment.")
        request = msgspec.structs.replace(request, id=next(self._ids))
        inbox: asyncio.Queue[Message | None] = asyncio.Queue()
        self._requests[request.id] = inbox
        answered = False
        deadline = asyncio.get_running_loop().time() + self._settings.timeout_s
        try:
            await self.wait_ready()
            while not inbox.empty():
                inbox.get_nowait()  # an earlier engine's death: it had not been asked
            assert self._child
            await self._child.send(request)
            while not answered:
                async with asyncio.timeout_at(deadline):
                    message = await inbox.get()
                match message:
                    case None:
                        raise EngineDied
                    case Refused(text=text):
                        answered = True
                        raise EngineTrouble(text)
                    case Completed() as completed:
                        answered = True
                        yield completed
                    case Delta() as delta:
                        yield delta
        except TimeoutError as exc:
            raise EngineTrouble("The answer took too long. Try a shorter prompt or fewer posts.") from exc
        finally:
            del self._requests[request.id]
            if not answered and self._child:
                await self._child.send(Cancel(id=request.id))

    async def unload(self, models: Sequence[str]) -> None:
        """Have the engine drop these model folders from memory, if it runs."""
        if self._child and self.ready:
            await self._child.send(Unload(models=tuple(models)))

    async def _serve(self) -> None:
        arguments = [*self._program, self._base, msgspec.json.encode(self._settings).decode()]
        child = await Child.spawn("engine", arguments, grace_s=self._grace_s)
        self._child = child
        try:
            async for message in child.messages():
                match message:
                    case Ready():
                        self.ready, self._failure = message, None
                        self._ready.set()
                        log.info("engine ready: %s on %s in %s", message.base, message.device, message.precision)
                    case Failed(text=text):
                        self._failure = f"The engine can't start: {text}"
                    case Delta() | Completed() | Refused():
                        if inbox := self._requests.get(message.id):
                            inbox.put_nowait(message)
                    case Stopped():
                        pass
        finally:
            with suppress(ChildError):
                await child.stop()
