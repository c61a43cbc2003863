"""Having posts said: what the engine is asked, how often, and what becomes of an engine that does not answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from bot.config import Config, LimitSettings
from bot.records import CONSOLE
from bot.sampling import Creativity, Length
from bot.service import Service, _latest
from models.errors import EngineTrouble, NoSuchModel, NotAllowed, OutOfRange
from models.messages import Delta
from tests.bot.quick import MANAGER, MEMBER, NEIGHBOUR, STRANGER, asked, entered_in, quick_config, serving
from tests.fakes.children.orders import Orders


async def test_the_channels_own_model_is_asked_unless_another_is_named(service: Service, orders: Orders) -> None:
    robin = await entered_in(service, "robin")
    wren = await entered_in(service, "wren")
    await service.library.use(MANAGER, "robin", channel_id=420)
    assert (await service.say(MEMBER)).model == robin
    assert (await service.say(MEMBER, model=wren)).model == wren
    assert [request.model for request in asked(orders)] == [
        str(service.data.models / model.folder) for model in (robin, wren)
    ]
    with pytest.raises(NoSuchModel):
        await service.say(STRANGER)


async def test_an_answer_has_what_it_takes_to_be_had_again(service: Service) -> None:
    model = await entered_in(service)
    answer = await service.say(MEMBER, prompt="  the \n kettle ", count=3)
    assert answer.prompt == "the kettle" and len(answer.texts) == 3
    again = await service.say(MEMBER, model=model, prompt=answer.prompt, count=3, seed=answer.seed)
    assert again.texts == answer.texts
    other = await service.say(MEMBER, prompt="the kettle", count=3)
    assert other.seed != answer.seed and other.texts != answer.texts


async def test_creativity_and_length_are_said_to_the_engine_in_its_own_figures(
    service: Service, orders: Orders
) -> None:
    await entered_in(service)
    await service.say(MEMBER, creativity=Creativity.WILD, length=Length.SHORT)
    await service.say(MEMBER, creativity=Creativity.CAREFUL, length=Length.LONG)
    await service.say(MEMBER)
    short, long, usual = asked(orders)
    assert short.temperature > usual.temperature > long.temperature
    assert short.max_tokens < usual.max_tokens < long.max_tokens
    assert short.min_tokens == usual.min_tokens == 1 < long.min_tokens
    assert {request.top_p for request in (short, long, usual)} == {service.config.engine.top_p}


async def test_drafts_are_shown_while_they_grow_to_who_wants_them(service: Service, orders: Orders) -> None:
    await entered_in(service)
    drafts: list[Delta] = []

    async def on_delta(delta: Delta) -> None:
        drafts.append(delta)

    answer = await service.say(MEMBER, count=2, on_delta=on_delta)
    assert tuple(draft.text for draft in drafts) == answer.texts
    await service.say(MEMBER)
    assert [request.stream for request in asked(orders)] == [True, False]


@pytest.mark.parametrize(
    ("texts", "limit", "kept"),
    [
        ([], 10, ()),
        (["", "  \n"], 10, ()),
        (["one", "", "two"], 10, ("one", "two")),
        (["first", "second", "third"], 11, ("second", "third")),
        (["first", "second", "third"], 10, ("third",)),
        (["short", "much too long for it"], 8, (" long for it"[-8:],)),
    ],
)
def test_the_latest_texts_that_fit_lead_up_to_an_answer(texts: list[str], limit: int, kept: tuple[str, ...]) -> None:
    assert _latest(texts, limit) == kept


async def test_the_texts_that_lead_up_to_it_are_passed_on(service: Service, orders: Orders) -> None:
    await entered_in(service)
    await service.say(MEMBER, answers=["hello", "how are you?"])
    assert asked(orders)[-1].answers == ("hello", "how are you?")


async def test_what_cannot_be_asked_is_refused_before_it_counts(service: Service) -> None:
    await entered_in(service)
    for request in ({"count": 0}, {"count": 6}, {"prompt": "x" * 501}):
        with pytest.raises(OutOfRange):
            await service.say(MEMBER, **request)  # type: ignore[arg-type]
    assert service.permits._asks.count((42, 7)) == 0


async def test_who_asks_too_often_waits_and_the_console_does_not(tmp_path: Path, orders: Orders) -> None:
    config = quick_config(tmp_path, limits=LimitSettings(asks_per_member_minute=2))
    async with serving(config, orders) as service:
        await entered_in(service)
        for _ in range(2):
            await service.say(MEMBER)
        with pytest.raises(NotAllowed) as caught:
            await service.say(MEMBER)
        assert caught.value.rule == "asks"
        await service.say(NEIGHBOUR)
        for _ in range(3):
            await service.say(CONSOLE)


async def test_an_engine_that_dies_before_anything_was_shown_is_asked_once_more(
    service: Service, orders: Orders
) -> None:
    await entered_in(service)
    expected = await service.say(MEMBER, prompt="the kettle", seed=5)
    pid = service.engine.pid
    orders.give("engine-dies")
    assert (await service.say(MEMBER, prompt="the kettle", seed=5)).texts == expected.texts
    assert service.engine.pid != pid
    assert len(asked(orders)) == 3


async def test_an_engine_that_dies_twice_is_told(service: Service, orders: Orders) -> None:
    await entered_in(service)
    await service.engine.wait_ready()
    orders.give("engine-dies")
    dying = service.engine.generate

    def again(request: object) -> object:
        orders.give("engine-dies")
        return dying(request)  # type: ignore[arg-type]

    service.engine.generate = again  # type: ignore[method-assign,assignment]
    with pytest.raises(EngineTrouble, match="ask once more"):
        await service.say(MEMBER)


async def test_an_engine_that_refuses_is_told_in_its_words(service: Service, orders: Orders) -> None:
    await entered_in(service)
    orders.give("engine-refuses", "this voice is hoarse")
    with pytest.raises(EngineTrouble, match="hoarse"):
        await service.say(MEMBER)


async def test_an_answer_with_nothing_fit_to_be_seen_is_told(service: Service, orders: Orders) -> None:
    await entered_in(service)
    orders.give("engine-says", "")
    with pytest.raises(EngineTrouble, match="Nothing fit"):
        await service.say(MEMBER)


async def test_who_stops_waiting_leaves_the_engine_free_for_others(service: Service, orders: Orders) -> None:
    await entered_in(service)
    orders.give("engine-waits")
    saying = asyncio.create_task(service.say(MEMBER))
    await service.engine.wait_ready()
    await asyncio.sleep(0)
    saying.cancel()
    await asyncio.gather(saying, return_exceptions=True)
    orders.revoke("engine-waits")
    assert (await service.say(NEIGHBOUR)).texts


async def test_the_house_is_told_in_figures(quick: Config, orders: Orders) -> None:
    config = msgspec.structs.replace(quick)
    async with serving(config, orders) as service:
        await entered_in(service)
        await entered_in(service, caller=STRANGER)
        await service.engine.wait_ready()
        status = await service.status()
        assert (status.running_jobs, status.waiting_jobs, status.models) == (0, 0, 2)
        assert status.engine == "quick on cpu in fp32"
        assert status.free_mb > 0
