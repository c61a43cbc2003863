"""One step: texts in a row don't see each other, whatever the architecture, and its loss is torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from trainer import step as step_module
from trainer.dataset import Example, collate
from trainer.step import IGNORED, Batch, LinearCrossEntropy, Step

SHAPE: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 1,
}
END = 0  # the end-of-text token, which leads each document
GPT2 = {"vocab_size": 400, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128} | {
    f"{name}_pdrop": 0.0 for name in ("attn", "embd", "resid")
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama, two key heads": {"num_key_value_heads": 2},
    "llama, one key head, untied": {"num_key_value_heads": 1, "tie_word_embeddings": False},
    "qwen3": {},
    "gpt2": GPT2,
    "gemma2": {"query_pre_attn_scalar": 8, "final_logit_softcapping": 5.0, "attn_logit_softcapping": 1.0},  # two caps
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32, "dropout": 0.0},  # counts positions from the attention mask
}


def grown(name: str = "llama") -> PreTrainedModel:
    """A model whose every layer says something, loud enough that attention is far from even."""
    torch.manual_seed(1)
    family = name.split(",")[0]
    config = AutoConfig.for_model(family, **(MODELS[name] if family == "gpt2" else SHAPE | MODELS[name]))
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=0.3)
    return model


def document(length: int, *, seed: int) -> list[int]:
    ids = torch.randint(2, 400, (length - 1,), generator=torch.Generator().manual_seed(seed))
    return [END, *ids.tolist()]


def batch_of(documents: list[list[int]], *, per_row: int = 8) -> Batch:
    examples = [Example(ids=tuple(ids), context_tokens=1, target_bytes=1) for ids in documents]
    rows = [examples[i : i + per_row] for i in range(0, len(examples), per_row)]
    return collate(rows, width=128, height=len(rows), pad_id=1)


def alone(model: PreTrainedModel, documents: list[list[int]]) -> Tensor:
    """What transformers itself makes of the documents, each read by itself: nats."""
    model.set_attn_implementation("sdpa" if model._supports_sdpa else "eager")  # what they have of their own
    nats = [
        cross_entropy(model(input_ids=torch.tensor([ids[:-1]])).logits[0], torch.tensor(ids[1:]), reduction="sum")
        for ids in documents
    ]
    return torch.stack(nats).sum()


def gradients(model: PreTrainedModel) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


DOCUMENTS = [document(length, seed=length) for length in (25, 10, 2, 30, 41)]


@pytest.mark.parametrize("name", MODELS)
def test_documents_of_a_row_have_the_loss_and_the_gradient_that_each_has_alone(name: str) -> None:
    model = grown(name)
    loss = Step(model, torch.float32).loss(batch_of(DOCUMENTS))
    loss.backward()
    found = gradients(model)
    model.zero_grad()
    expected = alone(model, DOCUMENTS)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    assert torch.linalg.vector_norm(found - gradients(model)) < 1e-3 * torch.linalg.vector_norm(found)


@pytest.mark.parametrize("name", MODELS)
def test_the_usual_models_let_texts_share_rows(name: str) -> None:
    assert Step(grown(name), torch.float32).shares_rows


def test_a_model_with_a_running_state_reads_each_text_in_a_row_of_its_own() -> None:
    shape = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "pad_token_id": 1}
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("mamba", **shape))
    step = Step(model, torch.float32)
    assert not step.shares_rows
    loss = step.loss(batch_of(DOCUMENTS, per_row=1))
    torch.testing.assert_close(loss, alone(model, DOCUMENTS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_step_in_bf16_is_near_one_in_fp32(name: str) -> None:
    model = grown(name)
    coarse = Step(model, torch.bfloat16).loss(batch_of(DOCUMENTS))
    coarse.backward()
    found = gradients(model)
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in model.parameters() if p.grad is not None)
    model.zero_grad()
    expected = alone(model, DOCUMENTS)
    expected.backward()
    torch.testing.assert_close(coarse, expected, rtol=0.02, atol=0)
    assert torch.linalg.vector_norm(found - gradients(model)) < 0.1 * torch.linalg.vector_norm(found)


@pytest.mark.parametrize(("name", "is_plain"), [("llama", True), ("gpt2", True), ("gemma2", False)])
def test_logits_are_kept_only_where_a_model_does_more_to_them(
    name: str, is_plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = grown(name)
    step = Step(model, torch.float32)
    calls: list[object] = []
    model.register_forward_hook(lambda *_: calls.append(None))
    step.loss(batch_of(DOCUMENTS))
    assert bool(calls) != is_plain


def test_rows_of_a_batch_do_not_mix() -> None:
    model = grown()
    step = Step(model, torch.float32)
    together = step.loss(batch_of(DOCUMENTS, per_row=2))
    torch.testing.assert_close(together, step.loss(batch_of(DOCUMENTS)), rtol=1e-5, atol=1e-5)


def test_a_batch_in_pieces_has_the_gradient_of_the_batch() -> None:
    model = grown()
    step = Step(model, torch.float32)
    step.loss(batch_of(DOCUMENTS)).backward()
    whole = gradients(model)
    model.zero_grad()
    for part in (DOCUMENTS[:2], DOCUMENTS[2:]):
        step.loss(batch_of(part)).backward()
    torch.testing.assert_close(gradients(model), whole, rtol=1e-4, atol=1e-4)


def test_padding_changes_nothing() -> None:
    model = grown()
    step = Step(model, torch.float32)
    batch = batch_of(DOCUMENTS)
    padding = batch.labels == IGNORED
    other = Batch(ids=batch.ids.masked_fill(padding, 17), labels=batch.labels, documents=batch.documents)
    torch.testing.assert_close(step.loss(batch), step.loss(other))


def test_a_context_shorter_than_a_row_is_long_enough() -> None:
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **{**GPT2, "n_positions": 48}))
    batch = batch_of(DOCUMENTS)
    padded = collate(
        [[Example(ids=tuple(DOCUMENTS[0]), context_tokens=1, target_bytes=1)]], width=128, height=3, pad_id=1
    )
    step = Step(model.eval(), torch.float32)
    torch.testing.assert_close(step.loss(batch), alone(model, DOCUMENTS), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(step.loss(padded), alone(model, DOCUMENTS[:1]), rtol=1e-4, atol=1e-4)


def test_long_rows_have_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    model = grown("llama, two key heads")
    step = Step(model, torch.float32)
    short = step.loss(batch_of(DOCUMENTS))
    monkeypatch.setattr(step_module, "SHORT", 100)
    torch.testing.assert_close(step.loss(batch_of(DOCUMENTS)), short, rtol=1e-5, atol=1e-5)


def test_a_head_that_learns_alone_gets_its_gradient() -> None:
    hidden, head, labels = inputs(9)
    loss = LinearCrossEntropy.apply(hidden.detach(), head, labels, step_module._entropy)
    expected = cross_entropy(hidden.detach() @ head.T, labels, reduction="sum")
    torch.testing.assert_close(*(torch.autograd.grad(value, head)[0] for value in (loss, expected)))


def test_frozen_weights_get_no_gradient_and_the_others_the_same() -> None:
    model = grown()
    step = Step(model, torch.float32)
    step.loss(batch_of(DOCUMENTS)).backward()
    expected = model.model.layers[0].mlp.up_proj.weight.grad.clone()
    model.zero_grad()
    model.requires_grad_(False)
    moving = model.model.layers[0].mlp.up_proj.weight.requires_grad_()
    step.loss(batch_of(DOCUMENTS)).backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"model.layers.0.mlp.up_proj.weight"}
    torch.testing.assert_close(moving.grad, expected)


@pytest.mark.parametrize("name", ["llama, two key heads", "gpt2"])
def test_a_model_in_training_speaks_as_it_would_otherwise(name: str) -> None:
    model = grown(name).eval()
    prompt = torch.tensor([document(9, seed=1)])
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 1}
    before = model.generate(prompt, **options)
    Step(model, torch.float32)
    assert model.generate(prompt, **options).equal(before)


def inputs(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden, head = torch.randn(rows, 16, generator=generator), torch.randn(50, 16, generator=generator)
    return hidden.requires_grad_(), head.requires_grad_(), torch.randint(50, (rows,), generator=generator)


@pytest.mark.parametrize("ignored", [[], [0, 7], [0, 1, 2, 3, 4, 5, 6, 7, 8]])
@pytest.mark.parametrize("rows", [9, 16, 37])
def test_the_loss_and_its_gradients_are_those_of_torch(
    rows: int, ignored: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_module, "LOGITS", 8 * 50)  # the logits of 8 rows
    hidden, head, labels = inputs(rows)
    labels[ignored] = IGNORED
    loss = LinearCrossEntropy.apply(hidden, head, labels, step_module._entropy)
    expected_loss = cross_entropy(hidden @ head.T, labels, reduction="sum", ignore_index=IGNORED)
    torch.testing.assert_close(loss, expected_loss)
    if len(ignored) < rows:
        found = torch.autograd.grad(loss * 0.3, (hidden, head))
        for one, other in zip(found, torch.autograd.grad(expected_loss * 0.3, (hidden, head)), strict=True):
            torch.testing.assert_close(one, other)


def test_never_more_logits_are_held_than_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_module, "LOGITS", 8 * 50)
    sizes: list[int] = []

    def watched(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(logits.numel())
        return step_module._entropy(logits, labels)

    hidden, head, labels = inputs(37)
    labels[:5] = IGNORED
    LinearCrossEntropy.apply(hidden, head, labels, watched)
    assert sizes == [8 * 50] * 4  # 32 labels


def test_the_loss_of_sure_and_wrong_logits_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, head, labels = inputs(20)
    loss = LinearCrossEntropy.apply(1000 * hidden, head, labels, step_module._entropy)
    torch.testing.assert_close(loss, cross_entropy(1000 * hidden @ head.T, labels, reduction="sum"))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, (hidden, head)))
