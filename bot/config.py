"""`config.toml`, read into the settings of each package. Everything that is wrong is told at once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from models.engine.settings import EngineSettings
from models.errors import ConfigError, SetupError
from models.records import SourceSettings, TrainingSettings, XApiSettings

DEFAULT_CONFIG = Path("config.toml")


class BotSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [bot] table."""

    data_dir: Annotated[str, Meta(min_length=1)] = "var"
    parallel_trainings: Annotated[int, Meta(ge=1, le=64)] = 1
    min_free_disk_mb: Annotated[int, Meta(ge=0)] = 500
    stop_grace_s: Annotated[float, Meta(ge=0)] = 10.0
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class DiscordSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [discord] table. The token comes from the environment, never from here."""

    progress_every_s: Annotated[float, Meta(ge=1)] = 5.0
    max_attachment_mb: Annotated[int, Meta(ge=1)] = 100
    message_content: bool = False


class LimitSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [limits] table: what everybody shares. A server can only lower its own."""

    waiting_jobs: Annotated[int, Meta(ge=1)] = 20
    waiting_per_server: Annotated[int, Meta(ge=1)] = 5
    waiting_per_member: Annotated[int, Meta(ge=1)] = 2
    trainings_per_server_day: Annotated[int, Meta(ge=1)] = 20
    trainings_per_member_day: Annotated[int, Meta(ge=1)] = 5
    asks_per_member_minute: Annotated[int, Meta(ge=1)] = 20


class BlockSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The [blocks] table: whom the operator does not serve, and who is never learned."""

    servers: tuple[int, ...] = ()
    users: tuple[int, ...] = ()
    handles: tuple[str, ...] = ()


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file, one table a package."""

    bot: BotSettings = BotSettings()
    discord: DiscordSettings = DiscordSettings()
    limits: LimitSettings = LimitSettings()
    blocks: BlockSettings = BlockSettings()
    sources: SourceSettings = SourceSettings()
    x_api: XApiSettings = XApiSettings()
    training: TrainingSettings = TrainingSettings()
    engine: EngineSettings = EngineSettings()

    @property
    def data_dir(self) -> Path:
        try:
            return Path(self.bot.data_dir).expanduser().absolute()
        except RuntimeError as exc:  # ~ of a user that is not there
            raise SetupError(f"[bot] data_dir = {self.bot.data_dir!r}: {_lower_first(str(exc))}") from exc


def read_config(path: Path | None = None) -> Config:
    """The configuration in a file; without one, `config.toml` of the working directory, or the defaults.

    ConfigError names every key that is unknown or has a wrong value, and what would be right.
    """
    if path is None:
        if not DEFAULT_CONFIG.exists():
            return Config()
        path = DEFAULT_CONFIG
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as exc:
        raise ConfigError(path, ["there is no such file"]) from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(path, [f"it can't be read: {exc}"]) from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(path, [f"it is not TOML: {exc}"]) from exc
    problems: list[str] = []
    sections = {
        field.name: _section(field.name, field.type, tables.get(field.name, {}), problems)
        for field in msgspec.structs.fields(Config)
    }
    problems += [
        f"[{name}]: there is no such table (tables: {', '.join(sections)})" for name in tables if name not in sections
    ]
    if problems:
        raise ConfigError(path, problems)
    return Config(**sections)


def _section(name: str, kind: Any, table: Any, problems: list[str]) -> Any:
    if not isinstance(table, dict):
        problems.append(f"{name} = {table!r}: has to be a table, [{name}]")
        return None
    fields, defaults = {field.name: field for field in msgspec.structs.fields(kind)}, kind()
    values = {}
    for key, value in table.items():
        if key not in fields:
            problems.append(f"[{name}] {key}: there is no such key (keys: {', '.join(fields)})")
            continue
        try:
            values[key] = msgspec.convert(value, fields[key].type)
        except msgspec.ValidationError as exc:
            default = getattr(defaults, key)
            problems.append(f"[{name}] {key} = {value!r}: {_lower_first(str(exc))} (default: {default!r})")
    return kind(**values)


def _lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
