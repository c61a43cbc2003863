"""`python -m bot check`: one line for each thing that has to be right, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bot.check import run_check
from bot.config import Config
from bot.datadir import DataDir


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)


async def check(path: Path) -> tuple[int, dict[str, tuple[str, str]], str]:
    """(exit code, (mark, text) by name, all that was printed)."""
    file = StringIO()
    code = await run_check(path, Console(file=file, width=80))
    lines = re.findall(r"^(ok|wrong) +([a-z ]+)(?:: (.*))?$", file.getvalue(), re.MULTILINE)
    return code, {name: (mark, text) for mark, name, text in lines}, file.getvalue()


async def test_good_set_up_without_a_token_says_what_to_do_about_the_token(
    write_config: Callable[..., Path], config: Config, tiny_base: Path
) -> None:
    code, lines, text = await check(write_config())
    assert code == 1
    assert [name for name, (mark, _) in lines.items() if mark == "wrong"] == ["discord"]
    assert list(lines) == ["config", "python", "data directory", "disk", "discord", "x api", "base", "device", "engine"]
    assert "DISCORD_TOKEN is not set" in lines["discord"][1] and "export DISCORD_TOKEN" in lines["discord"][1]
    assert str(config.data_dir) in lines["data directory"][1]
    assert str(tiny_base) in lines["base"][1]
    assert "tokens in" in lines["engine"][1]
    assert text.rstrip().endswith("1 thing(s) to mend.")


async def test_wrong_config_is_told_in_full_and_nothing_else_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[bot]\ncolour = 1\n[engine]\ntop_p = 7\n")
    code, lines, text = await check(path)
    assert code == 1
    assert [(name, mark) for name, (mark, _) in lines.items()] == [("config", "wrong")]
    assert "[bot] colour: there is no such key" in text and "[engine] top_p = 7" in text


async def test_bad_base_is_named(write_config: Callable[..., Path], tmp_path: Path) -> None:
    base = str(tmp_path / "no-such-base")
    code, lines, _ = await check(write_config(training={"base": base}))
    assert code == 1
    assert lines["engine"][0] == "wrong" and base in lines["engine"][1]
    assert "base" not in lines and lines["disk"][0] == "ok"


async def test_data_directory_in_use_is_no_fault_and_one_that_cannot_be_is(
    write_config: Callable[..., Path], config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.check._engine", no_engine)
    data = DataDir(config.data_dir)
    data.open("run")
    _, lines, _ = await check(write_config())
    data.close()
    assert lines["data directory"][0] == "ok" and "in use by run, process" in lines["data directory"][1]
    blocked = tmp_path / "file"
    blocked.touch()
    code, lines, _ = await check(write_config(bot={"data_dir": str(blocked)}))
    assert code == 1 and lines["data directory"][0] == "wrong" and "disk" not in lines


async def test_too_little_room_is_told(write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.check._engine", no_engine)
    code, lines, _ = await check(write_config(bot={"min_free_disk_mb": 10**9}))
    assert code == 1
    assert lines["disk"][0] == "wrong" and "1,000,000,200 MB needed" in lines["disk"][1]


async def test_unreachable_discord_is_told_without_the_token(
    write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setattr("bot.check._engine", no_engine)
    monkeypatch.setenv("DISCORD_TOKEN", "very-secret")
    monkeypatch.setenv("MOCKINGBIRD_DISCORD_API", f"http://127.0.0.1:{unused_tcp_port}")
    code, lines, text = await check(write_config())
    assert code == 1
    assert lines["discord"][0] == "wrong" and "can't be reached" in lines["discord"][1]
    assert "very-secret" not in text


@pytest.mark.parametrize(
    ("accepts", "token", "mark", "word"),
    [
        (False, "", "ok", "off"),
        (False, "very-secret", "ok", "accept_terms is not"),
        (True, "", "wrong", "X_BEARER_TOKEN is not"),
        (True, "very-secret", "ok", "on; the token was not tried"),
    ],
)
async def test_the_x_api_is_on_with_a_yes_and_a_token_and_costs_nothing_to_check(
    write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, accepts: bool, token: str, mark: str, word: str
) -> None:
    monkeypatch.setattr("bot.check._engine", no_engine)
    monkeypatch.setenv("X_BEARER_TOKEN", token)
    _, lines, text = await check(write_config(x_api={"accept_terms": accepts}))
    assert lines["x api"][0] == mark and word in " ".join(text.split())
    assert "very-secret" not in text


async def no_engine(config: Config):  # type: ignore[no-untyped-def]
    """In place of the engine, where it is not what is tested."""
    return
    yield
