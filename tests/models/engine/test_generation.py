"""One request from prompt to answer, on tiny bases of both families."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import Cache

from models.engine.device import Placement
from models.engine.generation import MAX_ROUNDS, Generation
from models.engine.loading import load_weights
from models.engine.voices import Voice, Voices
from models.messages import Completed, Delta, Generate

END, PAD = 0, 1
CONTEXT = 128


Change = Callable[[int, Tensor], None]  # gets the number of the call and the logits, which it may change


class Watched:
    """A voice whose calls are recorded, and whose logits may be changed."""

    def __init__(self, voice: Voice, change: Change | None = None) -> None:
        self.ids: list[Tensor] = []
        self.logits: list[Tensor] = []
        self.voice = replace(voice, forward=self._forward)
        self._forward_of_voice = voice.forward
        self._change = change

    def _forward(self, ids: Tensor, cache: Cache) -> Tensor:
        logits = self._forward_of_voice(ids, cache)
        self.ids.append(ids.clone())
        self.logits.append(logits.clone())
        if self._change:
            self._change(len(self.ids) - 1, logits)
        return logits

    @property
    def rounds(self) -> list[list[tuple[int, ...]]]:
        """The shapes that each round ran on; a round begins with the prompt in one row."""
        rounds: list[list[tuple[int, ...]]] = []
        for ids in self.ids:
            if ids.shape[1] > 1:
                rounds.append([])
            rounds[-1].append(tuple(ids.shape))
        return rounds


def ends_soon(_: int, logits: Tensor) -> None:
    """About one token in ten is the end."""
    logits[:, END] = logits.logsumexp(dim=-1) - 2.3


def ask(**fields: object) -> Generate:
    return Generate(**{"id": 1, "model": None, "seed": 1, "prompt": "the kettle", **fields})


def answer(request: Generate, voice: Voice) -> tuple[Completed, list[Delta]]:
    deltas = []
    with torch.inference_mode():
        generation = Generation(request, voice, torch.device("cpu"))
        while True:
            deltas += generation.step()
            if completed := generation.result():
                return completed, deltas


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request: pytest.FixtureRequest, bases: dict[str, Path]) -> Path:
    return bases[request.param]


@pytest.fixture(scope="module")
def voice(base: Path, cpu: Placement) -> Voice:
    return Voices(str(base), cpu, budget_bytes=0).get(None)


# --- against transformers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["the kettle sang", "", "pigeon in the rain, number 7"])
def test_greedy_text_is_that_of_transformers_token_for_token(
    base: Path, voice: Voice, cpu: Placement, prompt: str
) -> None:
    model, tokens = load_weights(str(base), cpu), 40
    ids = torch.tensor([[END, *voice.tokenizer.encode(prompt, add_special_tokens=False)]])
    expected = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=tokens,
        min_new_tokens=1,  # a post is never empty
        suppress_tokens=[PAD],
        pad_token_id=PAD,
    )[0].tolist()
    watched = Watched(voice)
    answer(ask(prompt=prompt, temperature=0, max_tokens=tokens + 1), watched.voice)
    fed = torch.cat(watched.ids, dim=1)[0].tolist()
    assert fed == [token for i, token in enumerate(expected) if token != END or i == 0]
    assert len(set(fed)) > 5  # or the comparison says little


def test_rows_that_end_leave_the_batch_and_the_others_go_on_undisturbed(
    base: Path, voice: Voice, cpu: Placement
) -> None:
    """Row 1 of 4 ends first, then what were rows 0 and 3; each call is compared with one without a cache."""

    def end_some(call: int, logits: Tensor) -> None:
        logits[:, END] = -1e9
        for row in {3: [1], 5: [0, 2]}.get(call, []):
            logits[row, END] = 1e9

    watched = Watched(voice, end_some)
    answer(ask(count=2, max_tokens=10), watched.voice)
    model = load_weights(str(base), cpu)
    prompt = watched.ids[0][0]
    rows = {row: prompt for row in range(4)}
    ones = [[0, 1, 2, 3]] * 3 + [[0, 2, 3]] * 2 + [[2]] * 4
    calls = list(zip(watched.ids[1:10], watched.logits[1:10], ones, strict=True))
    for ids, logits, alive in calls:
        assert ids.shape == (len(alive), 1)
        for place, row in enumerate(alive):
            rows[row] = torch.cat([rows[row], ids[place]])
            with torch.inference_mode():
                whole = model(input_ids=rows[row][None]).logits[0, -1]
            torch.testing.assert_close(logits[place], whole, rtol=1e-3, atol=1e-3)
    assert len(watched.ids) == 10 or watched.ids[10].shape[0] == 1  # the next round begins with the prompt


# --- seeds ------------------------------------------------------------------------------------------------------------


def test_the_same_seed_writes_the_same_and_another_does_not(voice: Voice) -> None:
    texts = [answer(ask(count=5, seed=seed), Watched(voice, ends_soon).voice)[0].texts for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) == 5


def test_a_neighbour_does_not_change_what_is_written(voice: Voice) -> None:
    alone = [answer(ask(seed=seed, count=3), Watched(voice, ends_soon).voice)[0].texts for seed in (1, 2)]
    with torch.inference_mode():
        both = [Generation(ask(seed=s, count=3), Watched(voice, ends_soon).voice, torch.device("cpu")) for s in (1, 2)]
        results: list[Completed | None] = [None, None]
        while not all(results):
            for i, generation in enumerate(both):
                if not results[i]:
                    generation.step()
                    results[i] = generation.result()
    assert [r.texts for r in results if r] == alone


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_tokens", [1, 2, 17])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_max_tokens_are_never_exceeded(voice: Voice, max_tokens: int, temperature: float) -> None:
    watched = Watched(voice)
    completed, _ = answer(ask(max_tokens=max_tokens, temperature=temperature, count=2), watched.voice)
    assert max(len(calls) for calls in watched.rounds) <= max_tokens
    rows = 4 if temperature else 1
    assert 0 < completed.tokens <= max_tokens * rows * len(watched.rounds)


def test_a_row_never_ends_before_its_first_token(voice: Voice) -> None:
    def always_end(_: int, logits: Tensor) -> None:
        logits[:, END] = 1e9

    watched = Watched(voice, always_end)
    answer(ask(count=3, max_tokens=8), watched.voice)
    assert all(len(calls) == 2 for calls in watched.rounds)
    assert END not in torch.cat(watched.ids[1:2]).flatten()


def test_padding_is_never_written(voice: Voice) -> None:
    def pad(_: int, logits: Tensor) -> None:
        logits[:, PAD] = 1e9

    for temperature in (0.0, 1.0):
        watched = Watched(voice, pad)
        answer(ask(max_tokens=8, temperature=temperature), watched.voice)
        assert all(PAD not in ids for ids in watched.ids)


@pytest.mark.parametrize("answers", [(), ("what of the pigeon? " * 60,)])
def test_a_prompt_longer_than_the_context_loses_its_beginning(voice: Voice, answers: tuple[str, ...]) -> None:
    prompt = "the kettle sang again, and " * 60 + "the pigeon listened"
    watched = Watched(voice, ends_soon)
    completed, _ = answer(ask(prompt=prompt, answers=answers, max_tokens=30), watched.voice)
    opening = watched.ids[0][0].tolist()
    assert opening[0] == END
    assert len(opening) + 30 <= CONTEXT
    assert prompt.endswith(voice.tokenizer.decode(opening[1:]))
    assert completed.texts and completed.texts[0].startswith(prompt)


@pytest.mark.parametrize(
    "max_tokens",
    [
        CONTEXT - 2,
        pytest.param(CONTEXT),
        pytest.param(2048),
    ],
)
def test_more_tokens_than_the_context_holds_are_not_tried(voice: Voice, max_tokens: int) -> None:
    watched = Watched(voice, lambda _, logits: logits[:, END].fill_(-1e9))
    answer(ask(max_tokens=max_tokens, temperature=0), watched.voice)
    assert sum(ids.shape[1] for ids in watched.ids) <= CONTEXT


# --- what is answered -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["the kettle", "the kettle  \n", "Grüße 🎉", ""])
def test_at_most_as_many_posts_as_asked_for_all_beginning_with_the_prompt(voice: Voice, prompt: str) -> None:
    completed, _ = answer(ask(count=5, prompt=prompt), Watched(voice, ends_soon).voice)
    assert 1 <= len(completed.texts) <= 5
    assert all(text.startswith(prompt.rstrip()) and len(text) > len(prompt.rstrip()) for text in completed.texts)
    assert len(set(completed.texts)) == len(completed.texts)
    assert completed.id == 1 and completed.seconds > 0


def test_the_answered_text_is_in_the_opening_and_not_in_the_post(voice: Voice) -> None:
    watched = Watched(voice, ends_soon)
    completed, _ = answer(ask(prompt="the tram", answers=("who\nsang?",), count=3), watched.voice)
    assert voice.tokenizer.decode(watched.ids[0][0, 1:]) == "> who sang?\nthe tram"
    assert completed.texts and all(text.startswith("the tram") for text in completed.texts)


def test_more_is_drafted_than_asked_for_and_the_prompt_is_run_once(voice: Voice) -> None:
    watched = Watched(voice, ends_soon)
    answer(ask(count=6), watched.voice)
    first = watched.rounds[0]
    assert first[0][0] == 1 and first[1] == (9, 1)
    sizes = [batch for batch, _ in first[1:]]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < 9


def test_drafting_stops_after_a_few_rounds_when_nothing_is_fit(voice: Voice) -> None:
    letter = voice.tokenizer.encode("a")[0]

    def only_a(_: int, logits: Tensor) -> None:
        logits[:, letter] = 1e9

    watched = Watched(voice, only_a)
    completed, _ = answer(ask(count=2, max_tokens=5), watched.voice)
    assert len(watched.rounds) == MAX_ROUNDS
    assert completed.texts == ("the kettleaaaaa…",)  # better than nothing
    assert completed.screened == {"said twice": 4 * MAX_ROUNDS - 1}
    assert completed.tokens == 4 * 5 * MAX_ROUNDS


def test_greedy_writes_one_post_however_many_are_asked_for(voice: Voice) -> None:
    script = [*voice.tokenizer.encode(" sang"), END]

    def say(call: int, logits: Tensor) -> None:
        logits[:, script[call]] = 1e9

    watched = Watched(voice, say)
    completed, _ = answer(ask(count=5, temperature=0), watched.voice)
    assert completed.texts == ("the kettle sang",)
    assert len(watched.rounds) == 1


# --- streaming --------------------------------------------------------------------------------------------------------


def test_deltas_add_up_to_the_draft_of_their_row(voice: Voice) -> None:
    """Many tokens of the tiny bases are single bytes: characters must not be sent in halves."""
    watched = Watched(voice, lambda _, logits: logits[:, END].fill_(-1e9))
    _, deltas = answer(ask(temperature=0, max_tokens=40, stream=True), watched.voice)
    drafted = torch.cat(watched.ids[1:], dim=1)[0].tolist()
    draft, streamed = voice.tokenizer.decode(drafted), "".join(delta.text for delta in deltas)
    assert len(deltas) > 3 and all(delta.text for delta in deltas)
    assert streamed.startswith(draft.rstrip("\ufffd"))  # the last token is sampled but not fed


def test_a_character_of_several_tokens_is_streamed_whole(voice: Voice) -> None:
    said = "ab 鳥🎉é!"
    script = [*voice.tokenizer.encode(said), END]
    assert len(script) > len(said) + 1

    def say(call: int, logits: Tensor) -> None:
        logits[:, script[call]] = 1e9

    completed, deltas = answer(ask(prompt="", temperature=0, stream=True), Watched(voice, say).voice)
    assert "".join(delta.text for delta in deltas) == said == completed.texts[0]
    assert not any("\ufffd" in delta.text for delta in deltas)


def test_only_the_posts_asked_for_are_streamed_and_only_on_demand(voice: Voice) -> None:
    _, deltas = answer(ask(count=3, stream=True), Watched(voice, ends_soon).voice)
    assert {delta.index for delta in deltas} == {0, 1, 2}
    assert {delta.id for delta in deltas} == {1}
    _, deltas = answer(ask(count=3), Watched(voice, ends_soon).voice)
    assert deltas == []


def test_a_special_token_in_a_prompt_is_only_text(voice: Voice) -> None:
    watched = Watched(voice, ends_soon)
    answer(ask(prompt="the <|endoftext|> kettle", answers=("who <|endoftext|>?",)), watched.voice)
    (ids,) = watched.ids[0].tolist()
    assert ids.count(END) == 1  # the one that leads every post
    assert voice.tokenizer.decode(ids[1:]) == "> who <|endoftext|>?\nthe <|endoftext|> kettle"


# --- how long it is at least ------------------------------------------------------------------------------------------


def ends_at_once(_: int, logits: Tensor) -> None:
    logits[:, END] = 1e9


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("fewest", [1, 2, 12])
def test_a_post_has_at_least_as_many_tokens_as_were_asked_for(voice: Voice, fewest: int, temperature: float) -> None:
    watched = Watched(voice, ends_at_once)
    answer(ask(count=2, min_tokens=fewest, max_tokens=40, temperature=temperature), watched.voice)
    rows = 1 if temperature == 0 else 4
    assert all(shapes[1:] == [(rows, 1)] * fewest for shapes in watched.rounds)  # the end is the token after them


def test_no_post_is_longer_than_the_most_because_of_the_fewest(voice: Voice) -> None:
    watched = Watched(voice, ends_at_once)
    answer(ask(min_tokens=50, max_tokens=10), watched.voice)
    assert {len(shapes) for shapes in watched.rounds} == {10}
    endless = Watched(voice, ends_at_once)
    answer(ask(min_tokens=2048, max_tokens=2048), endless.voice)
    assert {len(shapes) for shapes in endless.rounds} == {CONTEXT // 2}
