"""`python -m bot console` and `demo`: the real process, at a real terminal and behind a pipe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from bot.__main__ import EXIT_AGAIN
from tests.conftest import ROOT

SLOW = {"epochs": 100, "batch_tokens": 64, "patience": 100, "evaluations_per_epoch": 4, "learning_rate": 1e-5}


@contextmanager
def terminal(config: Path) -> Iterator[pexpect.spawn]:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "bot", "--config", str(config), "console"],
        cwd=str(ROOT),
        env={**os.environ, "TERM": "xterm"},
        dimensions=(40, 140),
        encoding="utf-8",
        timeout=60,
    )
    try:
        child.expect("mockingbird>")
        yield child
    finally:
        child.close(force=True)


def piped(config: Path, *lines: str, command: str = "console") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bot", "--config", str(config), command],
        cwd=ROOT,
        input="".join(line + "\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_at_a_terminal_the_thread_holds_with_completion_and_interrupts(
    write_config: Callable[..., Path], posts_file: Path
) -> None:
    with terminal(write_config(training=SLOW)) as child:
        child.send("/tr")
        child.expect("/train")  # what there is to complete shows
        child.send("\t")  # and Tab takes it
        child.send(f" @robin {posts_file} ground=public_domain\r")
        child.expect("training")
        child.expect("loss")
        child.sendintr()  # Ctrl-C cancels what runs
        child.expect("is cancelled")
        child.expect("mockingbird>")
        child.sendintr()  # and at the prompt does not end the program
        child.send("/jobs\r")
        child.expect("cancelled")
        child.expect("mockingbird>")
        child.send("\x1b[A\r")  # the line before, from the history
        child.expect("cancelled")
        child.expect("mockingbird>")
        child.sendeof()
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0


def test_a_killed_console_goes_on_with_its_job_when_it_is_started_again(
    write_config: Callable[..., Path], posts_file: Path
) -> None:
    config = write_config(training=SLOW)
    with terminal(config) as child:
        child.send(f"/train @robin {posts_file} ground=public_domain\r")
        child.expect("so far")  # after the first checkpoint
        child.kill(signal.SIGKILL)
        child.expect(pexpect.EOF)
    result = piped(config, "/jobs cancel 1")
    assert "Job #1 (robin) goes on where it was" in result.stdout
    assert "Job #1 is being cancelled" in result.stdout


def test_behind_a_pipe_the_same_commands_print_plain_lines(write_config: Callable[..., Path], posts_file: Path) -> None:
    result = piped(
        write_config(),
        "/help",
        "/models",
        f"/train @robin {posts_file} ground=public_domain",
        "/say model=robin count=2 seed=3 the kettle",
        "how are you?",
        "/say model=nobody",
        "/say " + "x" * 10_000,
        "/say count=many",
        "/nonsense",
        '/say "unclosed',
        "/train @nasa ground=public_figure",
        "/jobs",
        "/status",
        "/quit",
        "/say after the end",
    )
    assert result.returncode == 0
    assert result.stderr == ""
    out = result.stdout
    assert "There is no model yet" in out
    assert "robin, version 1, has learned from" in out
    assert out.count("AI imitation of @robin") == 2
    assert "no model called “nobody”" in out
    assert "at most 500 characters" in out
    assert "whole number" in out
    assert "There is no /nonsense" in out
    assert "I can't read that line" in out
    assert "can't fetch the posts of @nasa" in out
    assert "#1" in out
    assert "after the end" not in out
    assert "\x1b" not in out


def test_a_second_one_on_the_same_data_directory_is_told_who_has_it(write_config: Callable[..., Path]) -> None:
    config = write_config()
    with terminal(config) as child:
        second = piped(config)
        assert second.returncode == EXIT_AGAIN
        assert "Another Mockingbird (console, process" in second.stderr
        assert str(child.pid) in second.stderr


def test_run_without_a_token_says_where_to_get_one(write_config: Callable[..., Path]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bot", "--config", str(write_config()), "run"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "DISCORD_TOKEN"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 78
    assert "export DISCORD_TOKEN" in result.stderr


@pytest.mark.slow
def test_the_demo_trains_on_the_sample_and_prints_posts_by_itself(write_config: Callable[..., Path]) -> None:
    result = piped(write_config(), command="demo")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("AI imitation of @nightbus_nell") == 4
    assert "What to type next" in result.stdout
    assert "\r" not in result.stdout
