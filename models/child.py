"""The child's end of the protocol: a private copy of fd 1, the lifeline on stdin, and the last word.

fd 1 itself goes to stderr from here on: CUDA libraries, tokenizers and progress bars print.
"""

from __future__ import annotations

import os
import queue
import sys
import threading

from models.errors import MessageError, MockingbirdError, UserError
from models.messages import Failed, Hello, Message, decode, encode

EXIT_ORPHANED = 3


class Channel:
    """Sends messages to the parent, from any thread; receives its requests.

    End of file on stdin means that the parent is gone. The process then exits at once, in whatever it is: what it
    has written so far is only ever complete files.
    """

    def __init__(self, role: str, *, nice: int = 0) -> None:
        self._out = os.dup(1)
        os.set_inheritable(self._out, False)
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        os.umask(0o077)
        if nice:
            os.nice(nice)
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.send(Hello(role=role, pid=os.getpid()))
        threading.Thread(target=self._read, name="lifeline", daemon=True).start()

    def send(self, message: Message) -> None:
        """Write one message; a parent that is gone ends this process."""
        line = memoryview(encode(message))
        try:
            with self._lock:
                while line:
                    line = line[os.write(self._out, line) :]
        except BrokenPipeError:
            os._exit(EXIT_ORPHANED)

    def receive(self, *, wait: bool) -> Message | None:
        """The next request; None if there is none and `wait` is false."""
        try:
            return self._inbox.get(block=wait)
        except queue.Empty:
            return None

    def fail(self, error: BaseException) -> None:
        """Tell the parent that this run can't be completed, and why."""
        if isinstance(error, OSError) and error.errno == 28:  # ENOSPC, wherever it struck
            text = "the disk is full. The operator has to make room; then try again."
            self.send(Failed(kind="DiskFull", text=text, is_user_error=True))
        elif isinstance(error, UserError):
            self.send(Failed(kind=type(error).__name__, text=str(error), is_user_error=True))
        else:
            text = str(error) if isinstance(error, MockingbirdError) else f"{type(error).__name__}: {error}"
            self.send(Failed(kind=type(error).__name__, text=text[:2000], is_user_error=False))

    def _read(self) -> None:
        # os.read on the bare descriptor: a buffered reader's lock, held by this thread, would hang the exit.
        rest = b""
        while chunk := os.read(0, 1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                try:
                    self._inbox.put(decode(line))
                except MessageError as exc:
                    print(f"ignored from the parent: {exc}", file=sys.stderr)
        os._exit(EXIT_ORPHANED)
