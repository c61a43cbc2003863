"""The model of a pre-training run: documents in a row don't see each other, and its loss is torch's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tests.conftest import made_up_posts
from trainer.dataset import IGNORED
from trainer.pretrain import network
from trainer.pretrain.config import CONFIG, PretrainConfig
from trainer.pretrain.network import ATTENTION, LinearCrossEntropy, Step, new_model, optimizers
from trainer.pretrain.tokens import train_tokenizer

SHAPE = {
    "model_type": "llama",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}
END = 0  # the end-of-text token, which leads each document
HEADS = pytest.mark.parametrize("key_heads", [4, 2, 1])  # one for each of four query heads, two, one for all


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Such small matrices are no work for two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer((post["text"] for post in made_up_posts(300)), vocab_size=400)


def grown(tokenizer: PreTrainedTokenizerFast, **shape: Any) -> PreTrainedModel:
    """A model whose every layer says something, loud enough that attention is far from even."""
    torch.manual_seed(1)
    model = new_model({**SHAPE, **shape}, tokenizer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=1.0 if "embed" in name else 0.4)
    return model


def document(length: int, *, seed: int) -> list[int]:
    ids = torch.randint(2, 400, (length - 1,), generator=torch.Generator().manual_seed(seed))
    return [END, *ids.tolist()]


def ours(model: PreTrainedModel, row: list[int], documents: list[int]) -> Tensor:
    model.set_attn_implementation(ATTENTION)
    options = {"input_ids": torch.tensor([row]), "documents": torch.tensor([documents]), "use_cache": False}
    with torch.no_grad():
        return model(**options).logits[0]


def theirs(model: PreTrainedModel, row: list[int]) -> Tensor:
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        return model(input_ids=torch.tensor([row]), use_cache=False).logits[0]


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-4, atol=1e-4)


@HEADS
def test_a_row_of_one_document_reads_as_transformers_reads_it(
    key_heads: int, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = grown(tokenizer, num_key_value_heads=key_heads)
    row = document(60, seed=1)
    assert close(ours(model, row, [1] * 60), theirs(model, row))


@HEADS
def test_a_document_reads_the_same_whatever_stands_before_it_in_the_row(
    key_heads: int, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = grown(tokenizer, num_key_value_heads=key_heads)
    alone = [document(length, seed=length) for length in (17, 1, 30, 12)]
    alone[0] = alone[0][1:]  # a row may begin within a document
    row = [i for each in alone for i in each]
    numbers = [n for n, each in enumerate(alone) for _ in each]
    separately = torch.cat([theirs(model, each) for each in alone])
    assert close(ours(model, row, numbers), separately)
    assert not close(theirs(model, row), separately)  # which is not so by itself


def test_rows_of_a_batch_do_not_mix(tokenizer: PreTrainedTokenizerFast) -> None:
    model = grown(tokenizer)
    rows = torch.tensor([document(20, seed=1) + document(12, seed=2), document(9, seed=3) + document(23, seed=4)])
    documents = (rows == END).cumsum(1)
    with torch.no_grad():
        together = model(input_ids=rows, documents=documents, use_cache=False).logits
    for logits, row, numbers in zip(together, rows, documents, strict=True):
        assert close(logits, ours(model, row.tolist(), numbers.tolist()))


def test_a_later_token_changes_nothing_before_it(tokenizer: PreTrainedTokenizerFast) -> None:
    model = grown(tokenizer)
    row = document(30, seed=1)
    changed = [*row[:20], row[20] ^ 1, *row[21:]]
    before, after = ours(model, row, [1] * 30), ours(model, changed, [1] * 30)
    assert close(before[:20], after[:20])
    assert not close(before[20:], after[20:])


def inputs(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden, head = torch.randn(rows, 16, generator=generator), torch.randn(50, 16, generator=generator)
    return hidden.requires_grad_(), head.requires_grad_(), torch.randint(50, (rows,), generator=generator)


@pytest.mark.parametrize("rows", [1, 7, 8, 37])
def test_the_loss_and_its_gradients_are_those_of_torch(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "LOSS_ROWS", 8)
    hidden, head, labels = inputs(rows)
    loss = LinearCrossEntropy.apply(hidden, head, labels, network._entropy)
    found = torch.autograd.grad(loss * 0.3, (hidden, head))
    expected_loss = cross_entropy(hidden @ head.T, labels, reduction="sum")
    expected = torch.autograd.grad(expected_loss * 0.3, (hidden, head))
    torch.testing.assert_close(loss, expected_loss)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_the_loss_of_sure_and_wrong_logits_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "LOSS_ROWS", 8)
    hidden, head, labels = inputs(20)
    loss = LinearCrossEntropy.apply(1000 * hidden, head, labels, network._entropy)
    torch.testing.assert_close(loss, cross_entropy(1000 * hidden @ head.T, labels, reduction="sum"))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, (hidden, head)))


def test_a_label_that_is_ignored_carries_no_loss() -> None:
    hidden, head, labels = inputs(20)
    labels[[0, 7, 19]] = IGNORED
    loss = LinearCrossEntropy.apply(hidden, head, labels, network._entropy)
    found = torch.autograd.grad(loss, (hidden, head))
    expected_loss = cross_entropy(hidden @ head.T, labels, reduction="sum", ignore_index=IGNORED)
    torch.testing.assert_close(loss, expected_loss)
    for one, other in zip(found, torch.autograd.grad(expected_loss, (hidden, head)), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("text", "without_loss"), [("> hello\nhi", 1), ("> one\n> two\nthree", 2), ("a > b", 0), ("hi", 0)]
)
def test_no_model_learns_to_begin_with_a_quote(
    text: str, without_loss: int, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    entropy = network._entropy

    def watched(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(labels)
        return entropy(logits, labels)

    monkeypatch.setattr(network, "_entropy", watched)
    ids = [END, *tokenizer.encode(text, add_special_tokens=False), END]
    Step(grown(tokenizer), tokenizer, compiled=False)(torch.tensor([ids]), weight=1.0)
    (labels,) = seen
    assert (labels == IGNORED).sum() == without_loss
    assert labels[labels != IGNORED].tolist() == [i for i, label in zip(ids[1:], labels, strict=True) if label >= 0]
    assert all(tokenizer.decode(ids[1:][i]) == ">" for i in (labels == IGNORED).nonzero().flatten())


def gradients(model: PreTrainedModel) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("tied", [True, False])
def test_a_step_has_the_loss_and_the_gradient_of_the_documents_each_read_alone(
    tied: bool, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = grown(tokenizer, tie_word_embeddings=tied)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(0.3)  # so that bf16 is near enough to compare with
    documents = [document(length, seed=length) for length in (25, 10, 30)]
    row = torch.tensor([[i for each in documents for i in each]])
    loss = Step(model, tokenizer, compiled=False)(row, weight=1.0)
    found = gradients(model)
    assert len(found) == sum(p.numel() for p in model.parameters())
    model.zero_grad()
    model.set_attn_implementation("sdpa")
    logits = torch.cat([model(input_ids=torch.tensor([each]), use_cache=False).logits[0] for each in documents])
    expected_loss = cross_entropy(logits[:-1], row[0, 1:])
    expected_loss.backward()
    expected = gradients(model)
    torch.testing.assert_close(loss, expected_loss.detach(), rtol=0.01, atol=0)
    assert torch.linalg.vector_norm(found - expected) < 0.03 * torch.linalg.vector_norm(expected)


def test_a_batch_in_pieces_has_the_gradient_of_the_batch(tokenizer: PreTrainedTokenizerFast) -> None:
    model = grown(tokenizer)
    rows = torch.tensor([document(33, seed=seed) for seed in range(6)])
    step = Step(model, tokenizer, compiled=False)
    loss = step(rows, weight=1.0)
    whole = gradients(model)
    model.zero_grad()
    losses = [step(piece, weight=len(piece) / len(rows)) for piece in rows.split(2)]
    torch.testing.assert_close(torch.stack(losses).mean(), loss, rtol=1e-3, atol=0)
    assert torch.linalg.vector_norm(gradients(model) - whole) < 0.02 * torch.linalg.vector_norm(whole)


@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter_has_one_optimizer_and_only_hidden_matrices_have_muon(
    tied: bool, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = new_model({**SHAPE, "tie_word_embeddings": tied}, tokenizer)
    train = PretrainConfig.read(CONFIG).train
    muon, adamw = optimizers(model, train)
    groups = [group for optimizer in (muon, adamw) for group in optimizer.param_groups]
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {id(parameter) for parameter in model.parameters()}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    (matrices,) = muon.param_groups
    assert all(names[id(p)].startswith("model.layers.") and p.ndim == 2 for p in matrices["params"])
    assert len(matrices["params"]) == 2 * 7
    assert len(adamw.param_groups[0]["params"]) == (1 if tied else 2)


def test_the_rate_before_the_schedule_is_that_of_the_config(tokenizer: PreTrainedTokenizerFast) -> None:
    train = PretrainConfig.read(CONFIG).train
    groups = [group for optimizer in optimizers(new_model(SHAPE, tokenizer), train) for group in optimizer.param_groups]
    rates = [train.matrix_learning_rate, train.embedding_learning_rate, train.norm_learning_rate]
    assert [group["peak_lr"] for group in groups] == rates
    assert [group["weight_decay"] for group in groups] == [train.weight_decay, 0, 0]


def test_the_layers_of_a_new_model_add_nothing(tokenizer: PreTrainedTokenizerFast) -> None:
    model = new_model(SHAPE, tokenizer)
    row = document(40, seed=1)
    with torch.no_grad():
        embedded = model.get_input_embeddings()(torch.tensor(row))
        expected = model.get_output_embeddings()(model.base_model.norm(embedded))
    torch.testing.assert_close(ours(model, row, [1] * 40), expected)


def test_all_layers_of_a_new_model_learn_from_the_first_step(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    torch.manual_seed(1)
    model = new_model(SHAPE, tokenizer)
    Step(model, tokenizer, compiled=False)(torch.tensor([document(65, seed=1)]), weight=1.0)
    learning = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    adding = {name for name, _ in model.named_parameters() if name.endswith(("o_proj.weight", "down_proj.weight"))}
    assert len(adding) == 2 * 2
    assert adding <= learning


def test_a_new_model_knows_its_tokenizer(tokenizer: PreTrainedTokenizerFast) -> None:
    config = new_model(SHAPE, tokenizer).config
    assert (config.vocab_size, config.bos_token_id, config.eos_token_id, config.pad_token_id) == (400, 0, 0, 1)
