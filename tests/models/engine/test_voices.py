"""Versions on disk become voices: full models, adapters that share the base, and the budget that they share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache

from models.engine.device import Placement
from models.engine.voices import Voice, Voices
from models.errors import Unusable
from models.files import seal
from tests.models.made import made_manifest

pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")

ROOMY = 1 << 30
IDS = torch.tensor([[0, 50, 60, 70]])

MakeVoices = Callable[[int], Voices]


def load(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def whole_logits(model: torch.nn.Module) -> Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS).logits[:, -1]


def logits(voice: Voice) -> Tensor:
    with torch.inference_mode():
        return voice.forward(IDS, DynamicCache())


def write_adapter(base: Path, folder: Path, *, seed: int, named_base: str | None = None, rank: int = 4) -> Path:
    """An adapter that changes much: random weights on both of its sides."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False
    )
    get_peft_model(load(base), config).save_pretrained(folder)
    seal(folder, made_manifest(method="lora", base=named_base or str(base)))
    return folder


def write_full(base: Path, folder: Path, *, scale: float) -> Path:
    """The base with its weights scaled: a model of its own."""
    shutil.copytree(base, folder)
    model = load(base)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(scale)
    model.save_pretrained(folder)
    seal(folder, made_manifest(base=str(base)))
    return folder


@pytest.fixture(scope="module")
def base(bases: dict[str, Path]) -> Path:
    return bases["llama"]


@pytest.fixture(scope="module")
def shelf(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters and two full models."""
    root = tmp_path_factory.mktemp("models")
    return {
        "robin": write_adapter(base, root / "robin" / "1", seed=1),
        "wren": write_adapter(base, root / "wren" / "1", seed=2),
        "crow": write_full(base, root / "crow" / "1", scale=0.9),
        "jay": write_full(base, root / "jay" / "1", scale=0.8),
    }


@pytest.fixture(scope="module")
def alone(base: Path, shelf: dict[str, Path]) -> dict[str | None, Tensor]:
    """What each says when it is loaded and merged all by itself, without Voices."""
    said: dict[str | None, Tensor] = {None: whole_logits(load(base))}
    for name in ("robin", "wren"):
        said[name] = whole_logits(PeftModel.from_pretrained(load(base), str(shelf[name])).merge_and_unload())
    for name in ("crow", "jay"):
        said[name] = whole_logits(load(shelf[name]))
    return said


@pytest.fixture
def make_voices(base: Path, cpu: Placement) -> MakeVoices:
    return lambda budget: Voices(str(base), cpu, budget_bytes=budget)


def assert_says(voice: Voice, expected: Tensor) -> None:
    torch.testing.assert_close(logits(voice), expected, rtol=1e-3, atol=1e-3)


# --- what is loaded ---------------------------------------------------------------------------------------------------


def test_no_two_voices_of_these_tests_say_the_same(alone: dict[str | None, Tensor]) -> None:
    said = list(alone.values())
    for i, one in enumerate(said):
        assert all((one - other).abs().max() > 0.1 for other in said[:i])


def test_the_bare_base_is_a_voice(base: Path, make_voices: MakeVoices, alone: dict[str | None, Tensor]) -> None:
    voices = make_voices(ROOMY)
    voice = voices.get(None)
    assert_says(voice, alone[None])
    assert voice.context_tokens == 128
    assert voice.text_format.name == "quoted-1"
    assert voices.parameters == sum(p.numel() for p in load(base).parameters())


@pytest.mark.parametrize("name", ["robin", "crow"])
def test_an_adapter_and_a_full_model_are_voices(
    make_voices: MakeVoices, shelf: dict[str, Path], alone: dict[str | None, Tensor], name: str
) -> None:
    voice = make_voices(ROOMY).get(str(shelf[name]))
    assert_says(voice, alone[name])
    assert voice.size_bytes > 10_000


def test_gpt2_is_a_base_for_adapters_too(bases: dict[str, Path], cpu: Placement, tmp_path: Path) -> None:
    folder = write_adapter(bases["gpt2"], tmp_path / "robin", seed=1)
    voices = Voices(str(bases["gpt2"]), cpu, budget_bytes=ROOMY)
    merged = PeftModel.from_pretrained(load(bases["gpt2"]), str(folder)).merge_and_unload()
    assert_says(voices.get(str(folder)), whole_logits(merged))
    assert_says(voices.get(None), whole_logits(load(bases["gpt2"])))


def test_a_voice_is_loaded_once(make_voices: MakeVoices, shelf: dict[str, Path]) -> None:
    voices = make_voices(ROOMY)
    for name in ("robin", "crow"):
        assert voices.get(str(shelf[name])) is voices.get(str(shelf[name]))


def test_all_voices_take_turns_and_each_stays_itself(
    make_voices: MakeVoices, shelf: dict[str, Path], alone: dict[str | None, Tensor]
) -> None:
    voices = make_voices(ROOMY)
    order = [None, "robin", None, "wren", "robin", "wren", "crow", None, "robin", "jay", "wren", None]
    for name in order:
        assert_says(voices.get(str(shelf[name]) if name else None), alone[name])


def test_a_base_voice_from_before_an_adapter_was_loaded_stays_the_base(
    make_voices: MakeVoices, shelf: dict[str, Path], alone: dict[str | None, Tensor]
) -> None:
    voices = make_voices(ROOMY)
    early = voices.get(None)
    robin = voices.get(str(shelf["robin"]))
    assert_says(early, alone[None])
    assert_says(robin, alone["robin"])


def test_two_adapters_take_turns_token_by_token(base: Path, make_voices: MakeVoices, shelf: dict[str, Path]) -> None:
    voices = make_voices(ROOMY)
    names = ("robin", "wren")
    merged = {n: PeftModel.from_pretrained(load(base), str(shelf[n])).merge_and_unload() for n in names}
    held = {n: voices.get(str(shelf[n])) for n in names}
    caches = {n: DynamicCache() for n in names}
    ids = {n: IDS for n in names}
    fed = dict(ids)
    for _ in range(5):
        for n in names:
            with torch.inference_mode():
                said = held[n].forward(fed[n], caches[n])
                expected = merged[n](input_ids=ids[n]).logits[:, -1]
            torch.testing.assert_close(said, expected, rtol=1e-3, atol=1e-3)
            fed[n] = said.argmax(-1, keepdim=True)
            ids[n] = torch.cat([ids[n], fed[n]], dim=1)


def test_folders_that_differ_by_a_point_are_two_voices(base: Path, make_voices: MakeVoices, tmp_path: Path) -> None:
    one = write_adapter(base, tmp_path / "jay.b", seed=1)
    two = write_adapter(base, tmp_path / "jay_b", seed=2)
    voices = make_voices(ROOMY)
    first = voices.get(str(one))
    before = logits(first)
    voices.get(str(two))
    assert_says(first, before)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_an_adapter_for_another_base_is_unusable(base: Path, make_voices: MakeVoices, tmp_path: Path) -> None:
    folder = write_adapter(base, tmp_path / "robin", seed=1, named_base="builtin")
    with pytest.raises(Unusable, match="an adapter for the base builtin"):
        make_voices(ROOMY).get(str(folder))


@pytest.mark.parametrize("name", ["robin", "crow"])
def test_a_tampered_model_is_unusable_and_the_others_are_not(
    make_voices: MakeVoices, shelf: dict[str, Path], alone: dict[str | None, Tensor], tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "tampered"
    shutil.copytree(shelf[name], folder)
    weights = next(folder.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    voices = make_voices(ROOMY)
    with pytest.raises(Unusable, match=f"damaged.*{weights.name}"):
        voices.get(str(folder))
    assert_says(voices.get(str(shelf[name])), alone[name])
    assert_says(voices.get(None), alone[None])


def test_a_folder_that_is_no_model_is_unusable(make_voices: MakeVoices, base: Path, tmp_path: Path) -> None:
    voices = make_voices(ROOMY)
    for folder in (tmp_path, tmp_path / "nowhere", base):
        with pytest.raises(Unusable, match="no manifest"):
            voices.get(str(folder))


def test_an_unknown_text_format_is_unusable(make_voices: MakeVoices, shelf: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "newer"
    shutil.copytree(shelf["robin"], folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "text_format": "quoted-9"}))
    with pytest.raises(Unusable, match="text format"):
        make_voices(ROOMY).get(str(folder))


@pytest.mark.parametrize("location", ["/nowhere/at/all", "{empty}"])
def test_a_base_that_is_not_there_is_unusable(cpu: Placement, tmp_path: Path, location: str) -> None:
    with pytest.raises(Unusable, match="can't be loaded"):
        Voices(location.format(empty=tmp_path), cpu, budget_bytes=ROOMY)


# --- the budget -------------------------------------------------------------------------------------------------------


def taken(voices: Voices, folder: str | None) -> Voice:
    """The voice of a request that is the only one in flight."""
    voice = voices.get(folder)
    voices.trim(in_use={folder})
    return voice


@pytest.mark.parametrize("names", [("robin", "wren"), ("crow", "jay")])
def test_the_least_recently_used_goes_first(
    make_voices: MakeVoices, base: Path, shelf: dict[str, Path], tmp_path: Path, names: tuple[str, str]
) -> None:
    third = tmp_path / "third"
    shutil.copytree(shelf[names[0]], third)
    size = taken(make_voices(ROOMY), str(third)).size_bytes
    voices = make_voices(2 * size + size // 2)  # room for two
    one, two = (taken(voices, str(shelf[name])) for name in names)
    assert taken(voices, str(shelf[names[0]])) is one  # used again: the other is now the oldest
    newest = taken(voices, str(third))
    assert taken(voices, str(shelf[names[0]])) is one
    assert taken(voices, str(third)) is newest
    assert taken(voices, str(shelf[names[1]])) is not two


def test_one_voice_larger_than_the_budget_still_speaks(
    make_voices: MakeVoices, shelf: dict[str, Path], alone: dict[str | None, Tensor]
) -> None:
    voices = make_voices(1)
    for name in ("robin", "wren", "robin", "wren"):
        assert_says(taken(voices, str(shelf[name])), alone[name])
        assert_says(taken(voices, None), alone[None])


def test_evicted_adapters_leave_nothing_behind(make_voices: MakeVoices, shelf: dict[str, Path]) -> None:
    voices = make_voices(1)
    for name in ("robin", "wren", "robin"):
        taken(voices, str(shelf[name]))
    wrapped = voices._adapters._wrapped
    assert wrapped is not None
    assert len(wrapped.peft_config) == 1
    assert sum("lora_A" in name for name, _ in wrapped.named_parameters()) == 14  # 7 projections, 2 layers


def test_the_base_speaks_on_when_a_full_model_evicts_the_only_adapter(
    make_voices: MakeVoices, shelf: dict[str, Path], alone: dict[str | None, Tensor]
) -> None:
    voices = make_voices(1)
    for name in ("robin", "crow"):
        assert_says(taken(voices, str(shelf[name])), alone[name])
    assert_says(taken(voices, None), alone[None])


def test_an_adapter_speaks_again_after_a_full_model_evicted_it(
    make_voices: MakeVoices, shelf: dict[str, Path], alone: dict[str | None, Tensor]
) -> None:
    voices = make_voices(1)
    for name in ("robin", "crow", "robin"):
        assert_says(taken(voices, str(shelf[name])), alone[name])


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("robin", "wren")),
        ("crow", "jay"),
    ],
)
def test_a_voice_in_use_outlives_its_eviction(
    make_voices: MakeVoices, shelf: dict[str, Path], alone: dict[str | None, Tensor], names: tuple[str, str]
) -> None:
    """Requests take turns: the second one's load must not take the first one's voice away."""
    voices = make_voices(1)
    folders = [str(shelf[name]) for name in names]
    first, second = (voices.get(folder) for folder in folders)
    voices.trim(in_use=folders)
    assert_says(second, alone[names[1]])
    assert_says(first, alone[names[0]])
    voices.trim(in_use=folders[1:])
    assert voices.get(folders[1]) is second
    assert voices.get(folders[0]) is not first


# --- unloaded ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gone", "other"), [("robin", "wren"), ("robin", "crow"), ("crow", "robin"), ("crow", "jay")])
def test_an_unloaded_voice_is_dropped_and_the_others_speak_on(
    make_voices: MakeVoices, shelf: dict[str, Path], alone: dict[str | None, Tensor], gone: str, other: str
) -> None:
    voices = make_voices(ROOMY)
    dropped, kept = voices.get(str(shelf[gone])), voices.get(str(shelf[other]))
    voices.unload(str(shelf[gone]))
    voices.unload(str(shelf[gone]))  # twice is once
    assert voices.get(str(shelf[other])) is kept
    assert_says(kept, alone[other])
    assert_says(voices.get(None), alone[None])
    assert voices.get(str(shelf[gone])) is not dropped
    assert_says(voices.get(str(shelf[gone])), alone[gone])
