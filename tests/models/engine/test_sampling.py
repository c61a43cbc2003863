"""One token for each row: argmax, the nucleus, what is never drawn, and how often the rest is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import TopPLogitsWarper

from models.engine.sampling import sample_next


def draw(
    logits: Tensor, *, temperature: float = 1.0, top_p: float = 1.0, banned: list[int] | None = None, seed: int = 1
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return sample_next(logits.clone(), temperature=temperature, top_p=top_p, banned=banned or [], generator=generator)


def random_logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_temperature_zero_is_argmax() -> None:
    logits = random_logits(50, 400)
    assert draw(logits, temperature=0.0, top_p=0.5).equal(logits.argmax(dim=-1))


def test_there_is_one_id_for_each_row_on_the_cpu() -> None:
    for temperature in (0.0, 1.0):
        ids = draw(random_logits(7, 20), temperature=temperature)
        assert (ids.shape, ids.dtype, ids.device.type) == ((7,), torch.int64, "cpu")


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0, 5.0])
def test_banned_ids_are_never_drawn(temperature: float) -> None:
    logits = torch.zeros(5000, 6)
    logits[:, [0, 1]] = 20.0  # by far the likeliest
    drawn = set(draw(logits, temperature=temperature, banned=[0, 1]).tolist())
    assert drawn == ({2} if temperature == 0 else {2, 3, 4, 5})


def test_the_nucleus_is_measured_without_the_banned() -> None:
    logits = torch.tensor([[20.0, 3.0, 0.0, 0.0]]).expand(2000, -1)
    assert set(draw(logits, top_p=0.5, banned=[0]).tolist()) == {1}


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_top_p_keeps_the_same_nucleus_as_transformers(top_p: float, temperature: float) -> None:
    for seed in range(10):
        logits = random_logits(1, 12, seed=seed)
        warped = TopPLogitsWarper(top_p)(None, logits / temperature)
        kept = set(torch.isfinite(warped[0]).nonzero().flatten().tolist())
        likely = {i for i in kept if warped[0].softmax(-1)[i] > 0.005}  # 4,000 draws find these
        drawn = set(draw(logits.expand(4000, -1), temperature=temperature, top_p=top_p).tolist())
        assert likely <= drawn <= kept


def test_top_p_never_empties_the_nucleus() -> None:
    logits = random_logits(20, 30)
    assert draw(logits, top_p=1e-9).equal(logits.argmax(dim=-1))


def test_the_same_seed_draws_the_same() -> None:
    logits = random_logits(64, 100)
    assert draw(logits, seed=7).equal(draw(logits, seed=7))
    assert not draw(logits, seed=7).equal(draw(logits, seed=8))


def test_the_global_seed_is_neither_used_nor_moved() -> None:
    torch.manual_seed(1)
    before, first = torch.get_rng_state(), draw(random_logits(64, 100))
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(2)
    assert draw(random_logits(64, 100)).equal(first)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_are_distributed_as_the_softmax(temperature: float) -> None:
    draws, logits = 50_000, random_logits(8, seed=3)
    counts = draw(logits.expand(draws, -1), temperature=temperature).bincount(minlength=8)
    expected = (logits / temperature).softmax(-1) * draws
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 24.3  # 99.9 % quantile at 7 degrees of freedom


def test_the_nucleus_keeps_its_proportions() -> None:
    draws = 50_000
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    counts = draw(logits.expand(draws, -1), top_p=0.75).bincount(minlength=4)
    expected = torch.tensor([4 / 9, 3 / 9, 2 / 9]) * draws
    assert counts[3] == 0
    assert ((counts[:3] - expected) ** 2 / expected).sum() < 13.8  # 99.9 % quantile at 2 degrees of freedom


@pytest.mark.parametrize(
    "temperature",
    [
        1e-3,
        1e-30,
        pytest.param(1e-310),
    ],
)
def test_a_temperature_next_to_zero_is_next_to_argmax(temperature: float) -> None:
    logits = random_logits(8, 50) * 10
    assert draw(logits, temperature=temperature).equal(logits.argmax(dim=-1))


def test_bf16_logits_are_drawn_from_too() -> None:
    logits = random_logits(8, 50).to(torch.bfloat16)
    assert draw(logits, temperature=0.0).equal(logits.argmax(dim=-1))
    assert draw(logits).shape == (8,)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_an_error(broken: float) -> None:
    logits = random_logits(3, 50)
    logits[1, 7] = broken
    with pytest.raises(ValueError, match="no numbers"):
        draw(logits, top_p=0.9)
