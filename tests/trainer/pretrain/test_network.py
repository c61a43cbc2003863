"""The model of a pre-training run: how it starts, who moves which weight, and what of a stream carries loss."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.conftest import made_up_posts
from tests.trainer.test_step import END, document
from tests.trainer.test_step import SHAPE as SHAPE_WITH_IDS
from trainer.pretrain.config import CONFIG, PretrainConfig
from trainer.pretrain.network import Rows, new_model, optimizers
from trainer.pretrain.tokens import train_tokenizer
from trainer.step import IGNORED, Step

SHAPE = {"model_type": "llama", **{k: v for k, v in SHAPE_WITH_IDS.items() if not k.endswith(("_id", "vocab_size"))}}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer((post["text"] for post in made_up_posts(300)), vocab_size=400)


@pytest.mark.parametrize(
    ("text", "without_loss"), [("> hello\nhi", 1), ("> one\n> two\nthree", 2), ("a > b", 0), ("hi", 0)]
)
def test_no_model_learns_to_begin_with_a_quote(
    text: str, without_loss: int, tokenizer: PreTrainedTokenizerFast
) -> None:
    ids = [END, *tokenizer.encode(text, add_special_tokens=False), END]
    (labels,) = Rows(tokenizer).batch(torch.tensor([ids])).labels
    assert (labels == IGNORED).sum() == without_loss
    assert labels[labels != IGNORED].tolist() == [i for i, label in zip(ids[1:], labels, strict=True) if label >= 0]
    assert all(tokenizer.decode(ids[1:][i]) == ">" for i in (labels == IGNORED).nonzero().flatten())


def test_each_end_of_text_begins_a_document(tokenizer: PreTrainedTokenizerFast) -> None:
    batch = Rows(tokenizer).batch(torch.tensor([[7, 8, END, 9, END, END, 5, 6]]))
    assert batch.documents.tolist() == [[0, 0, 1, 1, 2, 3, 3]]
    assert batch.ids.tolist() == [[7, 8, END, 9, END, END, 5]]
    assert batch.labels.tolist() == [[8, END, 9, END, END, 5, 6]]


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
    torch.testing.assert_close(model(input_ids=torch.tensor([row]), use_cache=False).logits[0], expected)


def test_all_layers_of_a_new_model_learn_from_the_first_step(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    torch.manual_seed(1)
    model = new_model(SHAPE, tokenizer)
    rows = Rows(tokenizer).batch(torch.tensor([document(65, seed=1)]))
    Step(model, torch.float32).loss(rows).backward()
    learning = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    adding = {name for name, _ in model.named_parameters() if name.endswith(("o_proj.weight", "down_proj.weight"))}
    assert len(adding) == 2 * 2
    assert adding <= learning


def test_a_new_model_knows_its_tokenizer(tokenizer: PreTrainedTokenizerFast) -> None:
    config = new_model(SHAPE, tokenizer).config
    assert (config.vocab_size, config.bos_token_id, config.eos_token_id, config.pad_token_id) == (400, 0, 0, 1)
