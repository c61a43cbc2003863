"""`config.toml`: the shipped one is the defaults, and everything that is wrong with another is named at once."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bot.__main__ import EXIT_SETUP, main
from bot.config import BotSettings, Config, read_config
from models.errors import ConfigError, SetupError

SHIPPED = Path(__file__).resolve().parents[2] / "config.toml"
KEYS = [
    (section.name, key.name)
    for section in msgspec.structs.fields(Config)
    for key in msgspec.structs.fields(type(section.default))
]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def to_file(content: str | bytes) -> Path:
        path = tmp_path / "some.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


def problems(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def test_shipped_file_is_exactly_the_defaults() -> None:
    assert read_config(SHIPPED) == Config()


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_shipped_file_has_every_key_with_a_comment(section: str, key: str) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert key in tomllib.loads(text)[section]
    table = text.partition(f"[{section}]\n")[2].partition("\n[")[0]
    (line,) = (line for line in table.splitlines() if line.split(" = ")[0] == key)
    comment = line.partition(" # ")[2]
    assert len(comment) > 5


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_config() == Config()


def test_config_of_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text("[training]\nepochs = 9\n")
    assert read_config().training.epochs == 9


def test_empty_file_and_missing_keys_are_the_defaults(write: Callable[[str], Path]) -> None:
    assert read_config(write("")) == Config()
    changed = read_config(write("[bot]\nstop_grace_s = 3\n"))
    assert changed == Config(bot=BotSettings(stop_grace_s=3.0))


def test_all_that_is_wrong_is_named_at_once_with_value_and_default(write: Callable[[str], Path]) -> None:
    found = problems(
        write(
            """
            discord = "yes"
            [bot]
            min_free_disk_mb = "much"
            log_level = "LOUD"
            colour = "red"
            [limits]
            waiting_jobs = 0
            [blocks]
            users = ["nobody"]
            [sources]
            max_posts = 7
            [x_api]
            post_usd = -1
            [training]
            epochs = 1.5
            learning_rate = true
            precision = "fp8"
            [engine]
            temperature = nan
            top_p = 0
            [server]
            port = 80
            """
        )
    )
    expected = [  # what each names: where, the value, and what would be right
        ("discord", "'yes'", "[discord]"),
        ("[sources] max_posts", "7", ">= 100", "default: 3200"),
        ("[x_api] post_usd", "-1", ">= 0", "default: 0.005"),
        ("[limits] waiting_jobs", "0", ">= 1", "default: 20"),
        ("[blocks] users", "'nobody'", "`int`", "default: ()"),
        ("[bot] min_free_disk_mb", "'much'", "`int`", "default: 500"),
        ("[bot] log_level", "'LOUD'", "default: 'INFO'"),
        ("[bot] colour", "no such key", "data_dir"),
        ("[training] epochs", "1.5", "`int`", "default: 3"),
        ("[training] learning_rate", "True", "default: 'auto'"),
        ("[training] precision", "'fp8'", "default: 'auto'"),
        ("[engine] temperature", "nan", ">= 0", "default: 0.8"),
        ("[engine] top_p", "0", "> 0", "default: 0.95"),
        ("[server]", "no such table", "bot, discord, limits, blocks, sources, x_api, training, engine"),
    ]
    assert len(found) == len(expected)
    for facts in expected:
        assert any(all(fact in problem for fact in facts) for problem in found), facts


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_refuses_a_value_of_another_type(section: str, key: str, write: Callable[[str], Path]) -> None:
    (problem,) = problems(write(f"[{section}]\n{key} = 1979-05-27\n"))
    default = getattr(getattr(Config(), section), key)
    assert problem.startswith(f"[{section}] {key} = ")
    assert problem.endswith(f"(default: {default!r})")


def test_seed_that_no_generator_takes_is_refused(write: Callable[[str], Path]) -> None:
    assert problems(write(f"[training]\nseed = {1 << 32}\n"))


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert problems(tmp_path / "nowhere.toml") == ("there is no such file",)


def test_directory_is_no_configuration(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path)
    assert "can't be read" in problem


def test_invalid_toml_is_told_with_its_line(write: Callable[[str], Path]) -> None:
    (problem,) = problems(write("[bot]\ndata_dir = \n"))
    assert "not TOML" in problem and "line 2" in problem


def test_file_that_is_not_utf8_is_told(write: Callable[[bytes], Path]) -> None:
    (problem,) = problems(write(b'[bot]\ndata_dir = "caf\xe9"\n'))
    assert "can't be read" in problem and "utf-8" in problem


def test_byte_order_mark_is_no_fault(write: Callable[[bytes], Path]) -> None:
    assert read_config(write(b"\xef\xbb\xbf[training]\nepochs = 9\n")).training.epochs == 9


def test_config_error_is_for_the_operator() -> None:
    assert issubclass(ConfigError, SetupError)


def test_missing_config_file_ends_main_with_78_and_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nowhere.toml"
    assert main(["--config", str(path), "console"]) == EXIT_SETUP == 78
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"mockingbird: {path} is not a valid configuration:\n  there is no such file\n"


def test_data_dir_of_an_unknown_user_ends_main_with_78(
    write: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write('[bot]\ndata_dir = "~nobody-of-that-name/var"\n')
    assert main(["--config", str(path), "console"]) == EXIT_SETUP
    assert "data_dir" in capsys.readouterr().err
