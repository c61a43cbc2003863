"""What Mockingbird says, by language: one file of sentences each, English first."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from bot.records import Job
from models.errors import NotAllowed, UserError

LANGUAGES = Path(__file__).with_name("languages")
ENGLISH = "en"


class Strings:
    """The sentences of one language, by dotted key."""

    def __init__(self, language: str, texts: dict[str, str]) -> None:
        self.language = language
        self.texts = texts

    def __call__(self, key: str, /, **facts: object) -> str:
        """The sentence, with the facts put in. KeyError for a key or a fact that there is not."""
        return self.texts[key].format(**facts)

    def error(self, error: UserError) -> str:
        """What an error says; in English where this language has no sentence for its kind."""
        if isinstance(error, NotAllowed):
            return self(f"why.{error.rule}.no", **error.facts)
        template = self.texts.get(f"error.{type(error).__name__}")
        return template.format(**vars(error)) if template else str(error)

    def state(self, job: Job) -> str:
        return self(f"state.{job.state}")


@cache
def strings(language: str | None = None) -> Strings:
    """The sentences of a language, or of its closest relative here ("ja", "en-US" -> "en"); English for others."""
    known = languages()
    found = next((code for code in (language, (language or "").partition("-")[0]) if code in known), ENGLISH)
    assert found
    return Strings(found, _read(found))


@cache
def languages() -> tuple[str, ...]:
    """The codes of the languages that there are."""
    return tuple(sorted(path.stem for path in LANGUAGES.glob("*.toml")))


def _read(language: str) -> dict[str, str]:
    tables = tomllib.loads((LANGUAGES / f"{language}.toml").read_text(encoding="utf-8"))
    flat: dict[str, str] = {}

    def flatten(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                flatten(f"{prefix}.{key}" if prefix else key, inner)
        else:
            flat[prefix] = str(value).strip()

    flatten("", tables)
    return flat
