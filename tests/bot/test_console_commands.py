"""What the console's commands print, on the service with stand-ins for its children."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from io import StringIO
from pathlib import Path
from typing import get_args

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from rich.console import Console

from bot.config import Config
from bot.console import ConsoleFront
from bot.console_input import HELP, ConsoleCompleter, options_of
from bot.records import CONSOLE, JobState
from bot.sampling import Creativity, Length
from bot.service import Service
from models.records import Ground
from tests.bot.quick import asked, end_of, entered_in, posts_of, serving
from tests.fakes.children.orders import Orders

Do = Callable[[str], Awaitable[str]]


def typing(service: Service, folder: Path) -> Do:
    """Types a line at the console of that service; gives what is printed."""
    file = StringIO()
    front = ConsoleFront(service, Console(file=file, width=160, emoji=False), folder / "history")

    async def do(line: str) -> str:
        file.seek(0)
        file.truncate()
        await front.do(line)
        return file.getvalue()

    return do


@pytest.fixture
def do(service: Service, tmp_path: Path) -> Do:
    return typing(service, tmp_path)


async def test_models_are_listed_shown_chosen_renamed_deleted_and_restored(service: Service, do: Do) -> None:
    assert "no model yet" in await do("/models")
    await entered_in(service, "robin", caller=CONSOLE)
    await entered_in(service, "robin", caller=CONSOLE)
    await entered_in(service, "wren", caller=CONSOLE, handles=["wren"])
    assert "robin" in (listed := await do("/models")) and "wren" in listed
    info = await do("/models info robin")
    assert "version 2" in info and "@robin" in info and "v2 (1.500) · v1 (1.500)" in info and "1,000" in info
    await do("/models use robin")
    assert service.library.default(CONSOLE).name == "robin"
    assert "Red breast" in await do('/models rename robin "Red breast"')
    assert "/models restore Red breast" in await do('/models delete "Red breast"')
    assert [m.name for m in service.library.visible(CONSOLE)] == ["wren"]
    assert "Red breast is back" in await do('/models restore "Red breast"')
    assert "no model called" in await do("/models info nobody")
    assert "I know: /models" in await do("/models rename robin")


async def test_say_asks_with_what_was_typed(service: Service, orders: Orders, do: Do) -> None:
    await entered_in(service, "robin", caller=CONSOLE)
    said = await do("/say model=robin count=2 seed=7 creativity=wild length=short the  kettle")
    assert said.count("“the kettle") == 2 and "AI imitation of @robin, model robin v1, seed 7" in said
    request = asked(orders)[-1]
    assert (request.prompt, request.count, request.seed, request.answers) == ("the kettle", 2, 7, ())
    usual = service.config.engine
    assert request.temperature > usual.temperature and request.max_tokens < usual.max_tokens
    await do("how are you?")
    assert asked(orders)[-1].answers == ("how are you?",)
    assert "careful" in await do("/say creativity=mad") and "short" in await do("/say length=7")
    assert len(asked(orders)) == 2


async def test_a_failed_training_is_told_and_can_be_tried_again(
    service: Service, orders: Orders, do: Do, tmp_path: Path
) -> None:
    posts = posts_of(tmp_path)
    orders.give("fit-fails", "there is no rhyme in it")
    assert "Job #1 failed. there is no rhyme in it" in await do(f"/train @robin {posts} ground=public_domain")
    assert "robin, version 1, has learned from" in await do("/jobs retry #1")
    listed = await do("/jobs")
    assert "#2" in listed and "done" in listed and "failed" in listed
    assert "is already over" in await do("/jobs cancel 2")
    assert "can't be tried again" in await do("/jobs retry 2")
    assert "whole number" in await do("/jobs cancel everything")
    assert "no job #9" in await do("/jobs cancel 9")
    assert "already" in await do(f"/train @robin {posts} ground=public_domain")


@pytest.mark.parametrize(("reply", "state"), [("yes", JobState.DONE), ("no", JobState.CANCELLED)])
async def test_what_costs_is_asked_before_anything_is_collected(
    priced: Config, orders: Orders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: str, state: JobState
) -> None:
    questions: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or reply)
    async with serving(priced, orders) as service:
        printed = await typing(service, tmp_path)("/train @robin ground=public_figure")
        assert len(questions) == 1 and "$0.51" in questions[0]
        assert (await end_of(service, 1)).state == state
        assert ("Nothing was collected" in printed) == (reply == "no")


async def test_the_ground_and_the_source_are_words_of_train(service: Service, do: Do, tmp_path: Path) -> None:
    posts = posts_of(tmp_path).rename(tmp_path / "export.zip")
    assert "with the option “ground”" in await do(f"/train {posts} source=table")
    assert "one of own_archive, own_account" in await do(f"/train {posts} ground=because")
    assert "one of archive, table, x_api" in await do(f"/train {posts} source=jsonl ground=consent")
    assert "source:bluesky can't be “robin”" in await do("/train @robin source=bluesky ground=consent")
    assert "robin, version 1, has learned from" in await do(f"/train {posts} source=table ground=consent")
    assert "on the ground: consent" in await do("/models info robin")
    assert await service.registry.consents(job_id=1)


async def test_a_link_to_a_profile_is_a_handle_and_no_file(do: Do) -> None:
    assert "@nasa: the operator has not" in await do("/train https://x.com/nasa ground=public_figure")


async def test_forget_prints_a_receipt(service: Service, do: Do, tmp_path: Path) -> None:
    await entered_in(service, "robin", caller=CONSOLE)
    receipt = await do("/forget @Robin block")
    assert "of @robin" in receipt and "models: robin v1" in receipt and "blocked from now on" in receipt
    assert "may not be learned" in await do(f"/train @robin {posts_of(tmp_path)} ground=public_domain")
    assert "blocked" in await do("/forget robin")
    assert "I know: /forget" in await do("/forget")


async def test_every_command_has_a_line_of_help_and_can_be_completed(do: Do) -> None:
    printed = await do("/help")
    assert all(command in printed for command in HELP)
    assert "There is no /nonsense" in await do("/nonsense")


def test_what_is_typed_is_completed_by_where_it_stands() -> None:
    completer = ConsoleCompleter(lambda: ["robin", "red breast"])

    def completed(line: str) -> list[str]:
        return [c.text for c in completer.get_completions(Document(line), CompleteEvent())]

    assert completed("/mo") == ["/models"]
    assert completed("hello") == []
    assert completed("/models re") == ["rename ", "restore "]
    assert completed("/models use r") == ["robin", "'red breast'"]
    assert completed("/jobs c") == ["cancel "]
    assert completed("/train gr") == [f"ground={ground}" for ground in get_args(Ground)]
    assert completed("/train source=b") == ["source=bluesky"]
    assert completed("/say cr") == ["creativity="]
    assert completed("/say model=ro") == ["robin"]


def test_options_are_words_with_a_known_name() -> None:
    words = ["model=robin", "the", "a=b", "seed=", "=x"]
    assert options_of(words, "model", "seed") == ({"model": "robin", "seed": ""}, ["the", "a=b", "=x"])
    assert {step.value for step in (*Creativity, *Length)} >= {"wild", "short"}
