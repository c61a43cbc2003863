"""Child processes: spawned with an environment built from nothing, heard line by line, ended for certain."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from models.errors import ChildCrashed, ChildError, ChildMisspoke, ChildSilent, MessageError
from models.messages import MAX_LINE_BYTES, Cancelled, Done, Failed, Hello, Message, decode, encode

log = logging.getLogger(__name__)

HELLO_TIMEOUT_S = 60.0  # from the spawning; a loaded machine starts Python slowly
STDERR_TAIL_LINES = 30
_PROJECT = Path(__file__).resolve().parent.parent
# Where programs, libraries, caches and GPUs are found. No secret is among them, and nothing else is handed on.
_PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SSL_CERT_FILE",
    "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES", "MOCKINGBIRD_STAND_IN",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Programs:
    """What Python is told to run for each child."""

    engine: tuple[str, ...] = ("-m", "models.engine")
    trainer: tuple[str, ...] = ("-m", "trainer")


OUR_PROGRAMS = Programs()


def child_environment(secrets: Sequence[str] = ()) -> dict[str, str]:
    """The whole environment of a child; `secrets` are the names of those that it needs."""
    passed_on = {name: os.environ[name] for name in (*_PASSED_ON, *secrets) if name in os.environ}
    return {
        **passed_on,
        "PYTHONPATH": str(_PROJECT),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "GOMP_SPINCOUNT": "300",  # threads that spin long while they wait starve the other child: docs/log.md
        "TOKENIZERS_PARALLELISM": "false",
    }


class Child:
    """One child process that speaks the protocol. It leads a process group of its own."""

    def __init__(self, role: str, process: asyncio.subprocess.Process, *, grace_s: float) -> None:
        self.role = role
        self._process = process
        self._grace_s = grace_s
        self._stderr: deque[str] = deque(maxlen=STDERR_TAIL_LINES)
        self._stderr_task = asyncio.create_task(self._read_stderr())

    @classmethod
    async def spawn(cls, role: str, arguments: Sequence[str], *, grace_s: float, secrets: Sequence[str] = ()) -> Child:
        """Start `python -m …` and hear its hello; ChildCrashed, ChildSilent or ChildMisspoke if it does not come."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=child_environment(secrets),
                start_new_session=True,
                limit=MAX_LINE_BYTES,
            )
        except OSError as exc:  # no memory, no process, no descriptor left
            raise ChildError(role, f"could not be started ({exc.strerror})") from exc
        child = cls(role, process, grace_s=grace_s)
        try:
            hello = await child._next(HELLO_TIMEOUT_S)
            if not isinstance(hello, Hello) or hello.role != role:
                raise ChildMisspoke(role, f"its first message was {hello}", stderr=child.stderr)
        except BaseException:
            await child.stop()
            raise
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stderr(self) -> str:
        """The end of what it wrote to stderr."""
        return "\n".join(self._stderr)

    async def messages(self, *, silence_timeout_s: float | None = None) -> AsyncGenerator[Message]:
        """Everything it says. A child that ends, falls silent or misspeaks raises the matching ChildError."""
        while True:
            yield await self._next(silence_timeout_s)

    async def send(self, message: Message) -> None:
        """Say something to it; a child that is gone is noticed by `messages`."""
        assert self._process.stdin
        with suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(encode(message))
            await self._process.stdin.drain()

    def interrupt(self) -> None:
        """Ask it to stop at its next step; its last message says that it did."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    async def stop(self) -> None:
        """End it and all that it started: TERM, and after the grace period KILL."""
        try:
            if self._process.returncode is None:
                self.interrupt()
                await self._wait()
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._wait()  # what has left the group may hold a pipe open for ever
            self._stderr_task.cancel()

    async def _wait(self) -> None:
        """Wait for its end, but no longer than the grace period: wait() lasts as long as a grandchild holds a pipe."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._grace_s):
                await self._process.wait()

    async def _next(self, timeout_s: float | None) -> Message:
        assert self._process.stdout
        try:
            async with asyncio.timeout(timeout_s):  # Python 3.11's wait_for can swallow a cancellation
                line = await self._process.stdout.readline()
        except TimeoutError as exc:
            raise ChildSilent(self.role, timeout_s=timeout_s or 0, stderr=self.stderr) from exc
        except ValueError as exc:  # asyncio's word for a line over the limit
            raise ChildMisspoke(self.role, f"it sent a line over {MAX_LINE_BYTES} bytes") from exc
        if not line:
            await self._wait()
            exit_code = self._process.returncode
            if exit_code is None:
                raise ChildMisspoke(self.role, "it closed its stdout and did not end", stderr=self.stderr)
            await asyncio.wait([self._stderr_task], timeout=1)  # a grandchild may hold the pipe open
            raise ChildCrashed(self.role, exit_code=exit_code, stderr=self.stderr)
        try:
            return decode(line)
        except MessageError as exc:
            raise ChildMisspoke(self.role, str(exc), stderr=self.stderr) from exc

    async def _read_stderr(self) -> None:
        assert self._process.stderr
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # a line over the limit: dropped by asyncio, and no loss
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._stderr.append(text[:500])
            log.debug("%s %d: %s", self.role, self.pid, text)


async def run_to_end(child: Child, *, silence_timeout_s: float) -> AsyncGenerator[Message]:
    """Everything that a stage says up to and including its last word; it is gone afterwards, however this ends."""
    try:
        async for message in child.messages(silence_timeout_s=silence_timeout_s):
            yield message
            if isinstance(message, Done | Failed | Cancelled):
                return
    finally:
        await child.stop()
