"""Answers when Discord is busy or the connection is cut: tried again where that helps, and never said twice."""

from __future__ import annotations

import pytest

from tests.fakes.simcord_house import House, private, text


async def test_a_busy_discord_is_answered_at_the_second_try(house: House) -> None:
    house.env.inject_error("POST", "/interactions/*", status=429, code=0, times=1)
    assert "/say" in private(await house.member.slash(house.channel, "help"))


@pytest.mark.parametrize("status", [429, 503])
async def test_an_answer_that_fails_for_the_moment_comes_in_the_end(house: House, status: int) -> None:
    await house.shelve("robin")
    house.env.inject_error("POST", "/webhooks/*", status=status, code=0, times=2)
    said = await house.member.slash(house.channel, "say", prompt="the kettle")
    assert "the kettle" in text(said)
    assert said.followups == []
    assert house.faults() == []


async def test_an_answer_that_discord_refuses_is_not_tried_again(house: House) -> None:
    await house.shelve("robin")
    house.env.inject_error("POST", "/webhooks/*", status=400, code=50035, times=1)
    said = await house.member.slash(house.channel, "say")
    assert "under" in text(said)  # the number that the log has
    assert "/say failed" in house.faults()[-1]
