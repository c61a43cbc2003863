"""Texts to ids and back, and the mix of parts as one stream."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from models.text import END_OF_TEXT
from tests.conftest import made_up_posts
from trainer.pretrain import tokens
from trainer.pretrain.tokens import PAD, Mixer, Packed, load, pack, sample_texts, save, train_tokenizer

BLOCK = 600  # ids in a block of the tests
SIZES = {"irc": (3, 9), "novels": (40, 60), "wiki": (15, 30)}  # ids in a document of each made-up part, from and to
COUNTS = {"irc": 50, "novels": 7, "wiki": 23}  # documents


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer((post["text"] for post in made_up_posts(300)), vocab_size=400)


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("  two  spaces ,\tand\r\n\n a tab \x00\x7f")
@example("e\u0301 \u00e9 👩\u200d👧 \ufeff\ufffd 鳥は鳴く")
@settings(max_examples=200, deadline=None, database=None, derandomize=True)
def test_any_text_comes_back_from_its_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    packed = pack(tokenizer, [text])
    assert packed.ids[0] == tokenizer.eos_token_id
    assert tokenizer.decode(packed.ids[1:]) == text


def test_end_of_text_and_padding_are_the_first_two_ids(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.convert_tokens_to_ids([END_OF_TEXT, PAD]) == [0, 1]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 0, 1)
    assert len(tokenizer) == 400


def test_each_document_is_its_own_text_behind_an_end_of_text_token(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = [f"number {i}" for i in range(5000)]  # more than are encoded at a time
    ids, starts = pack(tokenizer, iter(texts))
    assert (ids.dtype, starts[0], starts[-1], len(starts)) == (np.uint16, 0, len(ids), 5001)
    assert (ids[starts[:-1]] == 0).all() and (ids == 0).sum() == 5000
    for i in (0, 1, 4095, 4096, 4999):
        assert tokenizer.decode(ids[starts[i] + 1 : starts[i + 1]]) == texts[i]


def test_what_was_saved_is_what_is_loaded(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    packed = pack(tokenizer, ["the kettle sang", "", "the pigeon listened"])
    save(tmp_path, "talk", packed)
    loaded = load(tmp_path, "talk")
    assert loaded is not None
    for before, after in zip(packed, loaded, strict=True):
        assert before.dtype == after.dtype
        assert np.array_equal(before, after)
    assert load(tmp_path, "posts") is None
    assert not list(tmp_path.glob("*.part*"))


def test_what_was_saved_in_part_is_not_loaded(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    save(tmp_path, "talk", pack(tokenizer, ["the kettle sang"]))
    (tmp_path / "talk.ids.npy").unlink()  # written last
    assert load(tmp_path, "talk") is None


def test_a_sample_of_texts_is_about_as_large_as_asked_or_all_of_them() -> None:
    texts = [f"number {i} of a hundred" for i in range(100)]
    longest = max(len(text) for text in texts)
    some = list(sample_texts(texts, size_bytes=500, rng=random.Random(1)))
    assert 500 <= sum(map(len, some)) < 500 + longest
    assert len(set(some)) == len(some) and set(some) < set(texts) and some != texts[: len(some)]
    assert sorted(sample_texts(texts, size_bytes=10**6, rng=random.Random(1))) == sorted(texts)


def packed_part(name: str) -> Packed:
    """Documents that say who they are: 0, number of the part, number of the document, filling."""
    rng = random.Random(name)
    part = list(SIZES).index(name)
    documents = [[0, 2 + part, 10 + i, *[9] * (rng.randint(*SIZES[name]) - 3)] for i in range(COUNTS[name])]
    starts = np.cumsum([0, *map(len, documents)])
    return Packed(np.concatenate([np.array(each, np.uint16) for each in documents]), starts)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Packed]:
    monkeypatch.setattr(tokens, "BLOCK_TOKENS", BLOCK)
    return {name: packed_part(name) for name in SIZES}


def drawn(block: np.ndarray) -> list[tuple[str, int, int]]:
    """The (part, number, length) of each document of a block, which holds whole documents only."""
    starts = np.flatnonzero(block == 0)
    assert starts[0] == 0
    lengths = np.diff([*starts, len(block)])
    names = list(SIZES)
    return [(names[block[at + 1] - 2], int(block[at + 2]) - 10, int(n)) for at, n in zip(starts, lengths, strict=True)]


def test_every_document_of_a_part_comes_once_before_any_comes_again(parts: dict[str, Packed]) -> None:
    mixer = Mixer(parts, seed=1)
    seen = {name: Counter(range(number)) for name, number in COUNTS.items()}  # once more than they were drawn
    for number in range(12):
        for name, document, length in drawn(mixer.block({"irc": 1, "novels": 3, "wiki": 2}, number)):
            seen[name][document] += 1
            starts = parts[name].starts
            assert length == starts[document + 1] - starts[document]
        for name, counts in seen.items():
            assert len(counts) == COUNTS[name]
            assert max(counts.values()) - min(counts.values()) <= 1
    passes = {name: round((counts.total() - COUNTS[name]) / COUNTS[name], 2) for name, counts in seen.items()}
    assert mixer.passes() == passes
    assert min(passes.values()) > 2  # none was asked too little to tell


def test_another_pass_is_in_another_order(parts: dict[str, Packed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "BLOCK_TOKENS", 1)  # a block is one document
    mixer, size = Mixer(parts, seed=1), COUNTS["wiki"]
    order = [drawn(mixer.block({"wiki": 1}, number))[0][1] for number in range(3 * size)]
    passes = [tuple(order[i : i + size]) for i in range(0, 3 * size, size)]
    assert all(sorted(each) == list(range(size)) for each in passes)
    assert len({*passes, tuple(range(size))}) == 4


@pytest.mark.parametrize(
    "shares", [{"irc": 1, "novels": 3, "wiki": 2}, {"irc": 0.5, "novels": 0, "wiki": 0.5}, {"wiki": 40.0}]
)
def test_each_part_has_its_share_of_a_block_within_a_documents_size(
    shares: dict[str, float], parts: dict[str, Packed]
) -> None:
    mixer = Mixer(parts, seed=1)
    for number in range(5):
        sizes = Counter[str]()
        for name, _, length in drawn(mixer.block(shares, number)):
            sizes[name] += length
        assert sizes.keys() == {name for name, share in shares.items() if share}
        for name, size in sizes.items():
            wanted = BLOCK * shares[name] / sum(shares.values())
            assert wanted <= size < wanted + SIZES[name][1]


def test_documents_of_all_parts_lie_mixed_in_a_block(parts: dict[str, Packed]) -> None:
    names = [name for name, _, _ in drawn(Mixer(parts, seed=1).block({"irc": 1, "novels": 3, "wiki": 2}, 0))]
    assert names != sorted(names)
    assert names.index("wiki") < len(names) - 1 - names[::-1].index("irc")  # the first part is not all in front


def test_the_same_seed_gives_the_same_blocks_and_another_does_not(parts: dict[str, Packed]) -> None:
    shares = {"irc": 1.0, "novels": 3.0, "wiki": 2.0}
    blocks = [
        np.concatenate([mixer.block(shares, number) for number in range(4)])
        for mixer in (Mixer(parts, seed=seed) for seed in (1, 1, 2))
    ]
    assert np.array_equal(blocks[0], blocks[1])
    assert not np.array_equal(blocks[0], blocks[2])


def test_another_phase_goes_on_where_the_one_before_it_stopped(parts: dict[str, Packed]) -> None:
    mixer = Mixer(parts, seed=1)
    first = {(name, document) for name, document, _ in drawn(mixer.block({"irc": 1, "wiki": 2}, 0))}
    shares = {"irc": 1, "wiki": 1, "novels": 4}
    second = [(name, document) for name, document, _ in drawn(mixer.block(shares, 1))]
    fresh = [(name, document) for name, document, _ in drawn(Mixer(parts, seed=1).block(shares, 1))]
    assert {"irc", "wiki"} <= {name for name, _ in second}
    assert set(first) & set(fresh)  # another mixer begins anew
    left = {name: COUNTS[name] - sum(one == name for one, _ in first) for name in ("irc", "wiki")}
    for name, number in left.items():
        again = [one for one in second if one[0] == name]
        assert len(set(again) - first) == min(len(again), number)  # those that had not come, come first
