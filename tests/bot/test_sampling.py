"""Creativity and length as the engine understands them: in steps around what the operator has set."""

from __future__ import annotations

import pytest

from bot.sampling import Creativity, Length, temperature, token_range
from models.engine.settings import EngineSettings
from models.messages import Generate, decode, encode

EXTREMES = [
    EngineSettings(),
    EngineSettings(temperature=0.0, max_tokens=1),
    EngineSettings(temperature=5.0, max_tokens=2048),
    EngineSettings(max_tokens=7),
    EngineSettings(max_tokens=1500),
]


@pytest.mark.parametrize("engine", EXTREMES)
@pytest.mark.parametrize("creativity", Creativity)
@pytest.mark.parametrize("length", Length)
def test_every_step_is_within_what_the_protocol_takes(
    engine: EngineSettings, creativity: Creativity, length: Length
) -> None:
    fewest, most = token_range(engine, length)
    assert fewest <= most
    request = Generate(
        id=1, model=None, seed=1, temperature=temperature(engine, creativity), min_tokens=fewest, max_tokens=most
    )
    assert decode(encode(request)) == request


def test_the_usual_step_is_what_the_operator_has_set() -> None:
    engine = EngineSettings(temperature=0.7, max_tokens=50)
    assert temperature(engine, Creativity.USUAL) == 0.7
    assert token_range(engine, Length.USUAL) == (1, 50)


@pytest.mark.parametrize("engine", EXTREMES)
def test_each_step_is_at_least_as_far_as_the_one_before(engine: EngineSettings) -> None:
    heats = [temperature(engine, step) for step in Creativity]
    assert heats == sorted(heats)
    ranges = [token_range(engine, step) for step in Length]
    assert ranges == sorted(ranges, key=lambda r: r[1])
    assert [fewest for fewest, _ in ranges] == sorted(fewest for fewest, _ in ranges)


def test_a_base_that_always_takes_the_likeliest_token_goes_on_doing_so() -> None:
    assert {temperature(EngineSettings(temperature=0), step) for step in Creativity} == {0.0}
