"""Fine-tuning on a tiny base: it learns, stops, and goes on after a kill as if nothing had happened."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from models.engine.device import choose
from models.engine.loading import load_weights
from models.errors import Unusable
from models.files import RunFolder, read_json
from models.records import DatasetRow, TrainingSettings
from models.text import DEFAULT_FORMAT
from tests.conftest import made_up_posts
from tests.fakes.tiny_base import write_tiny_base
from trainer.dataset import encode, split
from trainer.evaluate import bits_per_byte
from trainer.run import CancelRequested
from trainer.step import Step
from trainer.tune import Tuned, Tuner, TuneState, rate_at, resolve

SETTINGS = TrainingSettings(
    epochs=2, learning_rate=2e-3, batch_tokens=512, max_post_tokens=64, threads=1, precision="fp32", method="full"
)


class Recorder:
    """Stands where the child's channel is, in this process; `stop_at` cancels at that step."""

    def __init__(self, folder: Path, stop_at: int | None = None) -> None:
        self.folder = RunFolder(folder)
        self.steps: list[int] = []
        self.notices: list[str] = []
        self._stop_at = stop_at

    def progress(self, phase: str, done: int, total: int | None = None, **figures: Any) -> None:
        if phase == "evaluate" and self._stop_at == 0:
            raise CancelRequested
        if phase == "train":
            self.steps.append(done)
            if done == self._stop_at:
                raise CancelRequested

    def sample(self, step: int, text: str) -> None: ...

    def notice(self, text: str) -> None:
        self.notices.append(text)


def tune(base: Path, recorder: Recorder, settings: TrainingSettings = SETTINGS) -> Tuned:
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = [DatasetRow(id=p["id"], handle="robin", text=p["text"]) for p in made_up_posts(120)]
    training, held_out = (
        encode(part, tokenizer, DEFAULT_FORMAT, max_tokens=64) for part in split(rows, fraction=0.1, seed=1)
    )
    tuner = Tuner(
        recorder,  # type: ignore[arg-type]
        settings,
        location=str(base),
        tokenizer=tokenizer,
        style=DEFAULT_FORMAT,
        placement=choose("cpu", settings.precision, threads=1),
    )
    return tuner.tune(training, held_out)


def weights(tuned: Tuned) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in tuned.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_killed_and_resumed_run_gives_the_same_weights(method: Any, tiny_base: Path, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SETTINGS, method=method, lora_rank=4)
    whole = tune(tiny_base, Recorder(tmp_path / "whole"), settings)
    with pytest.raises(CancelRequested):
        tune(tiny_base, Recorder(tmp_path / "cut", stop_at=whole.state.step - 2), settings)
    second = Recorder(tmp_path / "cut")
    resumed = tune(tiny_base, second, settings)
    assert 1 < second.steps[0] < whole.state.step  # it did go on, and not from the beginning
    assert second.notices == [f"going on from step {second.steps[0] - 1}"]
    assert same(weights(whole), weights(resumed))
    assert whole.state.bits_per_byte == resumed.state.bits_per_byte


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_run_that_is_stopped_at_any_step_goes_on_from_that_very_step(
    method: Any, tiny_base: Path, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(SETTINGS, method=method, lora_rank=4)
    whole = tune(tiny_base, Recorder(tmp_path / "whole"), settings)
    evaluated = [step for step, _ in whole.state.bits_per_byte]
    stops = (1, evaluated[1] - 1, evaluated[1], evaluated[1] + 2, whole.state.step - 1)
    begins = 0
    for stop in stops:
        recorder = Recorder(tmp_path / "cut", stop_at=stop)
        with pytest.raises(CancelRequested):
            tune(tiny_base, recorder, settings)
        assert recorder.steps == list(range(begins + 1, stop + 1))  # none twice
        checkpoint = recorder.folder.checkpoints / f"step-{stop}" / "state.json"
        state = read_json(checkpoint, TuneState)
        assert state.step == stop
        assert len(state.pending) == stop - max(step for step in evaluated if step <= stop)
        begins = stop
    resumed = tune(tiny_base, Recorder(tmp_path / "cut"), settings)
    assert same(weights(whole), weights(resumed))
    for name in ("bits_per_byte", "losses", "best_step", "step", "tokens", "stale"):
        assert getattr(resumed.state, name) == getattr(whole.state, name), name


def test_a_run_that_is_stopped_before_its_first_step_starts_anew(tiny_base: Path, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, stop_at=0)
    with pytest.raises(CancelRequested):
        tune(tiny_base, recorder)
    again = Recorder(tmp_path, stop_at=1)
    with pytest.raises(CancelRequested):
        tune(tiny_base, again)
    assert again.steps == [1] and again.notices == []


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_held_out_bits_per_byte_fall(family: str, method: Any, precision: Any, tmp_path: Path) -> None:
    base = write_tiny_base(tmp_path / "base", family=family)
    rate = 2e-3 if method == "full" else 3e-2
    settings = msgspec.structs.replace(SETTINGS, method=method, learning_rate=rate, precision=precision)
    tuned = tune(base, Recorder(tmp_path / "run"), settings)
    assert tuned.method == method
    assert tuned.state.best < 0.98 * tuned.state.bits_per_byte[0][1]


def test_training_stops_when_the_held_out_loss_has_turned(tiny_base: Path, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SETTINGS, epochs=60, learning_rate=0.3, patience=1)  # a rate that breaks it
    tuned = tune(tiny_base, Recorder(tmp_path), settings)
    assert len(tuned.state.bits_per_byte) < 10
    assert tuned.state.best_step < tuned.state.step


def test_the_weights_given_back_are_those_of_the_best_step(tiny_base: Path, tmp_path: Path) -> None:
    tuned = tune(tiny_base, Recorder(tmp_path), msgspec.structs.replace(SETTINGS, epochs=6, learning_rate=0.05))
    (best,) = (tmp_path / "checkpoints").glob("best-*.safetensors")
    assert best.name == f"best-{tuned.state.best_step}.safetensors"
    saved = load_file(best)
    assert all(torch.equal(tuned.model.state_dict()[name], tensor) for name, tensor in saved.items())


def test_only_the_last_checkpoint_and_the_best_weights_are_kept(tiny_base: Path, tmp_path: Path) -> None:
    tuned = tune(tiny_base, Recorder(tmp_path))
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {f"step-{tuned.state.step}", f"best-{tuned.state.best_step}.safetensors"}


def test_a_checkpoint_cut_short_is_not_resumed(tiny_base: Path, tmp_path: Path) -> None:
    whole = tune(tiny_base, Recorder(tmp_path))
    checkpoint = tmp_path / "checkpoints" / f"step-{whole.state.step}"
    (checkpoint / "state.json").unlink()  # written last: without it the rest does not count
    again = Recorder(tmp_path)
    tune(tiny_base, again)
    assert again.steps[0] == 1


def test_bits_per_byte_of_a_uniform_model_are_those_of_its_vocabulary(tiny_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    rows = [DatasetRow(id="1", handle="robin", text="the kettle sang")]
    (example,) = encode(rows, tokenizer, DEFAULT_FORMAT, max_tokens=64)
    placement = choose("cpu", "fp32", threads=1)
    base = load_weights(str(tiny_base), placement)
    torch.nn.init.zeros_(base.get_output_embeddings().weight)
    value = bits_per_byte(Step(base, torch.float32), [example], pad_id=1, device=placement.device)
    bits = math.log2(base.config.vocab_size)
    assert math.isclose(value, bits * example.label_tokens / len("the kettle sang"), rel_tol=1e-6)


def test_auto_takes_full_fine_tuning_for_small_bases(tiny_base: Path) -> None:
    base = load_weights(str(tiny_base), choose("cpu", "fp32", threads=1))
    method, settings = resolve(TrainingSettings(max_post_tokens=999), base)
    assert (method, settings.method) == ("full", "full")
    assert isinstance(settings.learning_rate, float)
    assert settings.max_post_tokens == 126  # as long as the base's context allows


def test_the_learning_rate_warms_up_and_comes_down() -> None:
    rates = [rate_at(i / 100) for i in range(101)]
    peak = rates.index(max(rates))
    assert 0 < peak < 10
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert math.isclose(rates[-1], 0.1)


def test_a_run_starts_anew_when_its_checkpoints_are_gone(tiny_base: Path, tmp_path: Path) -> None:
    first = weights(tune(tiny_base, Recorder(tmp_path)))
    shutil.rmtree(tmp_path / "checkpoints")
    assert same(first, weights(tune(tiny_base, Recorder(tmp_path))))


def test_a_run_whose_loss_is_no_number_any_more_says_what_to_do(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = Step.loss
    monkeypatch.setattr(Step, "loss", lambda step, batch: loss(step, batch) * float("nan"))
    with pytest.raises(Unusable, match="learning_rate"):
        tune(tiny_base, Recorder(tmp_path))
    assert not list((tmp_path / "checkpoints").glob("step-*"))
