"""Splitting, weighting and batching of cleaned posts."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from models.records import DatasetRow
from models.text import DEFAULT_FORMAT
from trainer.dataset import balance, collate, encode, plan_epoch, row_width, split
from trainer.step import IGNORED


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_base)


def rows(count: int, handle: str = "robin") -> list[DatasetRow]:
    return [
        DatasetRow(id=str(i), handle=handle, text=f"the kettle sang {'again ' * (i % 9)}number {i}")
        for i in range(count)
    ]


def test_the_same_seed_splits_alike_and_another_does_not() -> None:
    once, again, other = (split(rows(200), fraction=0.1, seed=s)[1] for s in (1, 1, 2))
    assert once == again
    assert once != other


def test_no_post_is_on_both_sides_of_the_split_and_none_is_lost() -> None:
    training, held_out = split(rows(200), fraction=0.1, seed=1)
    assert {r.id for r in training} | {r.id for r in held_out} == {str(i) for i in range(200)}
    assert not {r.id for r in training} & {r.id for r in held_out}


def test_held_out_posts_never_outnumber_the_rest() -> None:
    training, held_out = split(rows(6), fraction=0.1, seed=1)
    assert len(held_out) == 3
    assert len(training) == 3


def test_several_accounts_weigh_the_same() -> None:
    balanced = balance([*rows(10, "robin"), *rows(3, "wren")])
    assert sum(r.handle == "robin" for r in balanced) == 10
    assert sum(r.handle == "wren" for r in balanced) == 10
    assert {r.id for r in balanced if r.handle == "wren"} == {"0", "1", "2"}


def test_every_example_is_in_an_epoch_once_and_no_row_is_too_long(tokenizer: PreTrainedTokenizerBase) -> None:
    examples = encode(rows(300), tokenizer, DEFAULT_FORMAT, max_tokens=64)
    planned = plan_epoch(examples, width=128, shared=True, rng=random.Random(1))
    assert sorted(i for row in planned for i in row) == list(range(300))
    assert all(sum(examples[i].row_tokens for i in row) <= 128 for row in planned)


def test_rows_that_are_not_shared_hold_one_example_each(tokenizer: PreTrainedTokenizerBase) -> None:
    examples = encode(rows(50), tokenizer, DEFAULT_FORMAT, max_tokens=64)
    planned = plan_epoch(examples, width=128, shared=False, rng=random.Random(1))
    assert sorted(planned) == [[i] for i in range(50)]


def test_no_two_epochs_are_alike(tokenizer: PreTrainedTokenizerBase) -> None:
    examples = encode(rows(50), tokenizer, DEFAULT_FORMAT, max_tokens=64)
    rng = random.Random(1)
    assert plan_epoch(examples, width=128, shared=True, rng=rng) != plan_epoch(
        examples, width=128, shared=True, rng=rng
    )


def test_padding_is_under_a_twentieth_of_an_epoch(tokenizer: PreTrainedTokenizerBase) -> None:
    examples = encode(rows(2000), tokenizer, DEFAULT_FORMAT, max_tokens=64)
    planned = plan_epoch(examples, width=128, shared=True, rng=random.Random(1))
    assert 128 * len(planned) < 1.05 * sum(example.row_tokens for example in examples)


@pytest.mark.parametrize(("words", "width"), [(3, 128), (140, 256), (300, 512)])
def test_a_row_has_room_for_the_longest_example(words: int, width: int, tokenizer: PreTrainedTokenizerBase) -> None:
    texts = [DatasetRow(id="1", handle="robin", text=text) for text in ("the kettle", "kettle " * words)]
    assert row_width(encode(texts, tokenizer, DEFAULT_FORMAT, max_tokens=500), shared=True) == width


def test_the_loss_is_on_the_answer_only(tokenizer: PreTrainedTokenizerBase) -> None:
    row = DatasetRow(id="1", handle="robin", text="the pigeon listened", answers="the kettle sang")
    (example,) = encode([row], tokenizer, DEFAULT_FORMAT, max_tokens=64)
    batch = collate([[example]], width=128, height=1, pad_id=1)
    labelled = batch.labels[0][batch.labels[0] != IGNORED]
    assert tokenizer.decode(labelled) == "the pigeon listened<|endoftext|>"
    assert example.label_tokens == len(labelled)
    assert tokenizer.decode(batch.ids[0]).startswith("<|endoftext|>> the kettle sang\nthe pigeon")


def test_a_label_is_what_follows_its_id_in_the_same_post(tokenizer: PreTrainedTokenizerBase) -> None:
    examples = encode(rows(7), tokenizer, DEFAULT_FORMAT, max_tokens=64)
    batch = collate([examples[:4], examples[4:]], width=256, height=3, pad_id=1)
    assert batch.ids.shape == batch.labels.shape == batch.documents.shape == (3, 256)
    for place, own in enumerate((examples[:4], examples[4:])):
        for number, example in enumerate(own, 1):
            here = batch.documents[place] == number
            ids, labels = batch.ids[place][here].tolist(), batch.labels[place][here].tolist()
            assert (*ids, labels[-1]) == example.ids
            assert labels == list(example.ids[1:])
        padding = batch.documents[place] > len(own)
        assert (batch.ids[place][padding] == 1).all() and (batch.labels[place][padding] == IGNORED).all()
    assert (batch.labels[2] == IGNORED).all()  # a row that nothing was left for


def test_a_post_over_the_limit_is_cut_and_does_not_learn_to_end_there(tokenizer: PreTrainedTokenizerBase) -> None:
    row = DatasetRow(id="1", handle="robin", text="the kettle sang again, " * 40)
    (example,) = encode([row], tokenizer, DEFAULT_FORMAT, max_tokens=32)
    assert len(example.ids) == 33
    assert example.ids[-1] != tokenizer.eos_token_id
    assert example.target_bytes == len(tokenizer.decode(example.ids[1:]).encode())


def test_a_special_token_in_a_post_is_only_text(tokenizer: PreTrainedTokenizerBase) -> None:
    row = DatasetRow(id="1", handle="robin", text="the <|endoftext|> kettle", answers="<|endoftext|>")
    (example,) = encode([row], tokenizer, DEFAULT_FORMAT, max_tokens=64)
    assert example.ids.count(tokenizer.eos_token_id) == 2


def test_line_breaks_are_learned_where_the_tokenizer_can_say_them(tokenizer: PreTrainedTokenizerBase) -> None:
    row = DatasetRow(id="1", handle="robin", text="the kettle sang\n\nagain")
    (example,) = encode([row], tokenizer, DEFAULT_FORMAT, max_tokens=64)
    assert tokenizer.decode(example.ids[1:-1]) == row.text


def test_line_breaks_become_spaces_where_the_tokenizer_loses_them() -> None:
    vocabulary = {word: number for number, word in enumerate(["[UNK]", "</s>", "the", "kettle", "a", "b", " "])}
    words = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = Split(" ", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", eos_token="</s>")
    row = DatasetRow(id="1", handle="robin", text="the\n\nkettle")
    (example,) = encode([row], tokenizer, DEFAULT_FORMAT, max_tokens=64)
    assert [tokenizer.convert_ids_to_tokens(i) for i in example.ids] == ["</s>", "the", " ", "kettle", "</s>"]
