"""The model card: front matter that parses, a column for each account, and names that stay names."""

from __future__ import annotations

import pytest
import yaml

from models.card import render_card
from tests.models.made import made_counts, made_manifest


def front_matter(card: str) -> dict[str, object]:
    _, matter, body = card.split("---\n", 2)
    assert card.startswith("---\n") and body.startswith("\n# ")
    return yaml.safe_load(matter)


def title(card: str) -> str:
    return next(line for line in card.splitlines() if line.startswith("# "))


def table(card: str) -> list[list[str]]:
    lines = [line for line in card.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_front_matter_parses() -> None:
    assert front_matter(render_card(made_manifest())) == {
        "tags": ["mockingbird", "text-generation"],
        "library_name": "transformers",
        "base_model": "builtin",
        "pipeline_tag": "text-generation",
        "widget": [{"text": "My dream is"}],
    }


def test_the_languages_of_the_accounts_are_in_the_front_matter() -> None:
    robin = made_counts(languages=("ja", "no"))  # which YAML would read as false
    wren = made_counts(handle="wren", languages=("en", "ja"))
    matter = front_matter(render_card(made_manifest(accounts=(robin, wren))))
    assert matter["language"] == ["ja", "no", "en"]


def test_the_card_tells_where_each_post_went() -> None:
    card = render_card(made_manifest(accounts=(made_counts(left_out={"repeated": 30, "much alike": 12}),)))
    assert "robin: 1,000 posts, of which 708 are learned" in card
    assert "200 retweets, 50 too short, 30 repeated, 12 much alike left out" in card


def test_an_adapter_is_a_peft_model() -> None:
    assert front_matter(render_card(made_manifest(method="lora")))["library_name"] == "peft"


@pytest.mark.parametrize(
    "base",
    [
        "org/model-1.5B",
        "/srv/#1",
        pytest.param("/srv/my models/a: b"),
        pytest.param("/srv/base #1"),
        pytest.param("@home/base"),
        pytest.param("null"),
    ],
)
def test_front_matter_names_any_base_as_it_is(base: str) -> None:
    assert front_matter(render_card(made_manifest(base=base)))["base_model"] == base


@pytest.mark.parametrize("handles", [("robin",), ("robin", "wren"), ("robin", "wren", "jay.bird", "crow-7")])
def test_the_counts_have_one_column_per_account(handles: tuple[str, ...]) -> None:
    accounts = tuple(
        made_counts(h, downloaded=1000 + i, retweets=200 + i, short=50 + i, kept=750 - i) for i, h in enumerate(handles)
    )
    rows = table(render_card(made_manifest(accounts=accounts)))
    assert rows == [
        ["", *(f"@{h}" for h in handles)],
        ["---"] * (1 + len(handles)),
        ["Posts downloaded", *(str(a.downloaded) for a in accounts)],
        ["Retweets", *(str(a.retweets) for a in accounts)],
        ["Short posts", *(str(a.short) for a in accounts)],
        ["Posts kept", *(str(a.kept) for a in accounts)],
    ]


def test_two_accounts_make_a_cyborg() -> None:
    two = (made_counts("robin", "Robin"), made_counts("wren", "Jenny Wren"))
    card = render_card(made_manifest(accounts=two))
    assert title(card) == "# Robin & Jenny Wren"
    assert "**AI CYBORG**" in card and "@robin & @wren" in card
    assert "**AI BOT**" in render_card(made_manifest())


@pytest.mark.parametrize("name", ["Zoë 🐦‍🔥 Ünïcøde", "鳥の歌", "👩‍👩‍👧 family", "عصفور"])
def test_a_name_keeps_its_letters_and_emoji(name: str) -> None:
    card = render_card(made_manifest(accounts=(made_counts(name=name),)))
    assert title(card) == f"# {name}"
    assert card.encode().decode() == card


@pytest.mark.parametrize(
    "name",
    [
        "two\nlines",
        "two\r\n\r\n# headings",
        "line\u2028separator\u0085next",
        "a | b | c",
        "---\nbase_model: evil\n---",
        "<script>alert(1)</script>",
        '"quoted" \\ {name} {0}',
        "%s {kind!r}",
    ],
)
def test_a_hostile_name_stays_in_the_title_line(name: str) -> None:
    card = render_card(made_manifest(accounts=(made_counts(name=name),)))
    plain = render_card(made_manifest())
    assert len(card.splitlines()) == len(plain.splitlines())
    assert [line for line in card.splitlines() if not line.startswith("# ")] == [
        line for line in plain.splitlines() if not line.startswith("# ")
    ]
    assert "<" not in title(card)
    assert front_matter(card) == front_matter(plain)


@pytest.mark.parametrize("name", ["*stars*", "_lines_", "`code`", "[text](https://example.org)", "~~gone~~"])
def test_a_name_is_not_read_as_markdown(name: str) -> None:
    """CommonMark: a backslash makes any ASCII punctuation literal."""
    shown = title(render_card(made_manifest(accounts=(made_counts(name=name),))))[2:]
    for i, character in enumerate(shown):
        assert character not in "*_`[~" or shown[i - 1] == "\\"


def test_the_card_tells_what_was_measured() -> None:
    card = render_card(made_manifest())
    for part in (
        "2.500 before, **1.750** after",
        "712 posts for training, 38 held out; 17,000 tokens",
        "best of 28 steps at step 20",
        "1,105 tokens/s",
        "1,234 MB",
        "torch 2.13.0, transformers 5.23.0",
        "job #7, 2024-05-06 07:08 UTC",
    ):
        assert part in card


def test_nothing_of_the_template_is_left() -> None:
    card = render_card(made_manifest())
    assert "{" not in card and "}" not in card
