"""The languages of an account, by its platform's tags or by its text."""

from __future__ import annotations

import pytest

from trainer.languages import language_code, main_languages

GERMAN = "der Kessel sang schon wieder und die Taube hörte zu"
JAPANESE = "やかんがまた歌って、鳩がそれを聞いていた"


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("en", "en"),
        ("pt-BR", "pt"),
        ("ZH_hant", "zh"),
        ("ckb", "ckb"),
        ("in", "id"),
        ("iw", "he"),
        *((tag, None) for tag in ("und", "zxx", "qam", "qct", "qht", "qme", "qst", "", "x" * 9, "1", None)),
    ],
)
def test_a_tag_is_a_language_or_none(tag: str | None, code: str | None) -> None:
    assert language_code(tag) == code


def test_the_tags_tell_most_frequent_first_and_rare_ones_are_not_named() -> None:
    assert main_languages([("ja", ""), *[("en", "")] * 8, ("ja", ""), *[("qme", "")] * 5]) == ("en", "ja")
    assert main_languages([("ja", ""), *[("en", "")] * 19]) == ("en",)


@pytest.mark.parametrize(("text", "code"), [(GERMAN, "de"), (JAPANESE, "ja")])
def test_without_tags_the_text_as_a_whole_tells(text: str, code: str) -> None:
    assert main_languages([(None, text)] * 900) == (code,)
    assert main_languages([(None, text), (None, text), ("und", text), ("fr", text)]) == (code,)


def test_nothing_to_judge_is_no_language() -> None:
    assert main_languages([]) == main_languages([(None, "12 34 😀")]) == ()
