"""The child's end of the pipes, in real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.child import EXIT_ORPHANED
from models.messages import Cancel, Done, Failed, Generate, Hello, Message, Notice, decode, encode

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 20.0

Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a child with a Channel called `channel`, and then the lines given."""
    children: list[subprocess.Popen[bytes]] = []

    def begin(lines: str) -> subprocess.Popen[bytes]:
        script = "import os, sys, time\nfrom models.child import Channel\nfrom models.messages import *\n" + lines
        pipe = subprocess.PIPE
        child = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)
        children.append(child)
        return child

    yield begin
    for child in children:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe:
                pipe.close()


def finish(child: subprocess.Popen[bytes]) -> tuple[list[Message], str]:
    """All that the child said, and its stderr; its stdin stays open until it has ended."""
    assert child.stdout and child.stderr
    out, err = child.stdout.read(), child.stderr.read()
    child.wait(PATIENCE_S)
    return [decode(line) for line in out.splitlines()], err.decode()


def hello(child: subprocess.Popen[bytes]) -> Hello:
    assert child.stdout
    message = decode(child.stdout.readline())
    assert isinstance(message, Hello)
    return message


def test_hello_comes_first(start: Start) -> None:
    child = start("Channel('trainer').send(Done())")
    messages, _ = finish(child)
    assert messages == [Hello(role="trainer", pid=child.pid), Done()]


def test_noise_on_stdout_never_reaches_the_messages(start: Start) -> None:
    child = start(
        """
channel = Channel('trainer')
print('printed')
sys.stdout.write('written\\n')
os.write(1, b'{"type":"done"}\\n')
os.system('echo from a grandchild')
channel.send(Notice(text='said'))
print('printed late', flush=True)
"""
    )
    messages, err = finish(child)
    assert messages[1:] == [Notice(text="said")]
    for noise in ("printed", "written", '{"type":"done"}', "from a grandchild", "printed late"):
        assert noise in err


def test_a_grandchild_does_not_hold_the_pipe(start: Start) -> None:
    child = start("Channel('trainer')\nimport subprocess\nsubprocess.Popen(['sleep', '3'], stdin=-3, stderr=-3)\n")
    started = time.monotonic()
    assert child.stdout
    child.stdout.read()
    assert time.monotonic() - started < 2.5


@pytest.mark.parametrize("busy", ["while True: pass", "time.sleep(60)", "channel.receive(wait=True)"])
def test_a_child_whose_parent_is_gone_ends_whatever_it_does(start: Start, busy: str) -> None:
    child = start(f"channel = Channel('trainer')\n{busy}\n")
    hello(child)
    assert child.stdin
    child.stdin.close()
    started = time.monotonic()
    assert child.wait(PATIENCE_S) == EXIT_ORPHANED
    assert time.monotonic() - started < 2.0


def test_a_child_that_no_one_reads_any_more_ends(start: Start) -> None:
    child = start(
        "channel = Channel('trainer')\nwhile True:\n    channel.send(Notice(text='x'))\n    time.sleep(0.01)\n"
    )
    hello(child)
    assert child.stdout
    child.stdout.close()
    assert child.wait(PATIENCE_S) == EXIT_ORPHANED


def test_requests_arrive_in_order_however_they_are_cut(start: Start) -> None:
    child = start(
        """
channel = Channel('engine')
for _ in range(3):
    channel.send(channel.receive(wait=True))
assert channel.receive(wait=False) is None
"""
    )
    hello(child)
    requests = [Generate(id=1, model=None, seed=1, prompt="ü" * 100_000), Cancel(id=1), Cancel(id=2)]
    data = b"".join(encode(request) for request in requests)
    assert child.stdin

    def dribble() -> None:
        for i in range(0, len(data), 50_001):
            os.write(child.stdin.fileno(), data[i : i + 50_001])
            time.sleep(0.01)

    writer = threading.Thread(target=dribble)
    writer.start()
    messages, _ = finish(child)
    writer.join()
    assert messages == requests


def test_what_is_no_request_is_passed_over(start: Start) -> None:
    child = start("channel = Channel('engine')\nchannel.send(channel.receive(wait=True))\n")
    assert child.stdin
    child.stdin.write(b'gossip\n\n{"type":"cancel"}\n' + encode(Cancel(id=5)))
    child.stdin.flush()
    messages, err = finish(child)
    assert messages[1:] == [Cancel(id=5)]
    assert err.count("ignored from the parent") == 3


def test_messages_of_many_threads_do_not_mix(start: Start) -> None:
    child = start(
        """
import threading
channel = Channel('trainer')
def talk(n):
    for i in range(20):
        channel.send(Notice(text=str(n) * 30_000))
threads = [threading.Thread(target=talk, args=(n,)) for n in range(4)]
for t in threads: t.start()
for t in threads: t.join()
"""
    )
    messages, _ = finish(child)
    texts = sorted(message.text for message in messages[1:] if isinstance(message, Notice))
    assert texts == sorted(str(n) * 30_000 for n in range(4) for _ in range(20))


def fail_with(start: Start, error: str) -> Failed:
    child = start(f"import models.errors as e\nChannel('trainer').fail({error})\n")
    messages, _ = finish(child)
    assert isinstance(messages[-1], Failed)
    return messages[-1]


def test_a_user_error_is_told_to_the_person_who_asked(start: Start) -> None:
    failed = fail_with(start, "e.NoPosts('robin')")
    assert failed.kind == "NoPosts" and failed.is_user_error
    assert failed.text.startswith("I found nothing to learn from @robin")


def test_a_full_disk_is_a_user_error(start: Start) -> None:
    failed = fail_with(start, "OSError(28, 'No space left on device', '/x/y')")
    assert (failed.kind, failed.is_user_error) == ("DiskFull", True)
    assert "disk is full" in failed.text


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        ("ValueError('x' * 9999)", "ValueError", ("ValueError: " + "x" * 9999)[:2000]),
        ("OSError(13, 'Permission denied')", "PermissionError", "PermissionError: [Errno 13] Permission denied"),
        ("KeyboardInterrupt()", "KeyboardInterrupt", "KeyboardInterrupt: "),
        ("e.BadModelFolder(e.Path('m'), 'no manifest')", "BadModelFolder", "m: no manifest"),
    ],
)
def test_any_other_error_is_not_a_user_error(start: Start, error: str, kind: str, text: str) -> None:
    assert fail_with(start, error) == Failed(kind=kind, text=text, is_user_error=False)


def test_files_of_a_child_are_private(start: Start, tmp_path: Path) -> None:
    child = start(f"Channel('trainer')\nopen({str(tmp_path / 'x')!r}, 'w').close()\n")
    finish(child)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600
