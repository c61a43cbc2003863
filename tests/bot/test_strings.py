"""What is said, by language: English first, and where another has no word for it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.engine import EngineDied
from bot.records import JobState
from bot.strings import Strings, _read, languages, strings
from models.errors import EngineTrouble, JobIsOver, NotAllowed, UserError
from tests.bot.quick import made_job

ENGLISH = strings()


@pytest.mark.parametrize("language", [None, "en", "en-GB", "en-US", "xx", "xx-YY", "", "../en", "sr-Latn"])
def test_a_language_that_there_is_not_is_answered_in_english(language: str | None) -> None:
    assert strings(language).language == "en"
    assert strings(language).texts == ENGLISH.texts


@pytest.mark.parametrize("language", languages())
def test_a_language_is_found_by_its_code_and_by_its_dialects(language: str) -> None:
    assert strings(language).language == language
    assert strings(f"{language}-ZZ").language == language


def own_words(texts: dict[str, str]) -> set[str]:
    """The keys without those of an error's own sentence."""
    return {key for key in texts if not re.match(r"error\.[A-Z]", key)}


@pytest.mark.parametrize("language", languages())
def test_every_language_has_the_keys_and_the_facts_of_english(language: str) -> None:
    def facts(text: str) -> set[str]:
        return set(re.findall(r"{(\w+)", text))

    texts = strings(language).texts
    assert own_words(texts) == own_words(ENGLISH.texts)  # errors fall back to theirs
    for key in own_words(texts):
        assert facts(texts[key]) == facts(ENGLISH.texts[key]), key


def test_facts_are_put_in_and_a_key_or_a_fact_that_is_missing_is_an_error() -> None:
    say = Strings("en", {"a.b": "{count:,} posts of {who}"})
    assert say("a.b", count=1234, who="@robin") == "1,234 posts of @robin"
    with pytest.raises(KeyError):
        say("a.c")
    with pytest.raises(KeyError):
        say("a.b", count=1)


def test_braces_in_a_fact_are_left_as_they_are() -> None:
    assert Strings("en", {"a": "{who}!"})("a", who="{count.__class__}") == "{count.__class__}!"


def test_an_error_without_a_sentence_says_its_own() -> None:
    error = JobIsOver(5, state="done")
    assert Strings("xx", {}).error(error) == str(error)
    assert Strings("xx", {"error.JobIsOver": "Nr. {job_id}: {state}"}).error(error) == "Nr. 5: done"
    assert Strings("xx", {}).error(EngineTrouble("hoarse")) == "hoarse"
    assert Strings("xx", {"error.EngineTrouble": "?"}).error(EngineDied()) == str(EngineDied())


def test_a_refusal_is_told_by_its_rule_in_the_language_of_who_reads_it() -> None:
    error = NotAllowed("English", rule="asks", facts={"limit": 3, "seconds": 9})
    assert Strings("xx", {"why.asks.no": "{limit}/{seconds}"}).error(error) == "3/9"
    assert "9 s" in ENGLISH.error(error)


def user_errors(kind: type[UserError] = UserError) -> Iterator[type[UserError]]:
    for inner in kind.__subclasses__():
        yield inner
        yield from user_errors(inner)


@pytest.mark.parametrize("language", languages())
def test_every_sentence_for_an_error_is_of_one_that_there_is_and_has_its_facts(language: str) -> None:
    for key, text in strings(language).texts.items():
        name = key.removeprefix("error.")
        if key.startswith("error.") and name[0].isupper():
            (kind,) = (kind for kind in user_errors() if kind.__name__ == name)
            facts = {fact for base in kind.__mro__[:-3] for fact in re.findall(r"self\.(\w+)", inspect.getsource(base))}
            assert set(re.findall(r"{(\w+)", text)) <= facts, key


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("language", languages())
def test_every_state_of_a_job_has_a_word(language: str, state: JobState) -> None:
    assert strings(language).state(made_job(1, state=state))


def test_a_language_file_is_flat_by_dotted_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "xx.toml").write_text('[a]\nb = " x "\nc = { d = "y" }\n[a.e]\nf = """\nz\n"""\n')
    monkeypatch.setattr("bot.strings.LANGUAGES", tmp_path)
    assert _read("xx") == {"a.b": "x", "a.c.d": "y", "a.e.f": "z"}
