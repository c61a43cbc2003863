"""Where the token is sent: to Discord, or to a stand-in on loopback, and nowhere else."""

from __future__ import annotations

import pytest

from bot.discord_front.api import DISCORD, VARIABLE, api_base
from models.errors import SetupError


def test_the_api_is_discords_own_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert api_base() == DISCORD
    monkeypatch.setenv(VARIABLE, "http://127.0.0.1:8080/api/v10")
    assert api_base() == "http://127.0.0.1:8080/api/v10"


@pytest.mark.parametrize(
    "base",
    ["http://example.org/api/v10", "http://127.0.0.1.example.org/", "http://127.0.0.1@example.org/", "nonsense", ""],
)
def test_the_token_goes_to_no_stranger(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, base)
    with pytest.raises(SetupError, match="loopback"):
        api_base()
