"""Cleaning: what is taken out of a post, what is too short to learn from, and the counts on the card."""

from __future__ import annotations

import time

import pytest

from models.errors import NoPosts
from models.records import Post, Profile
from trainer.clean import clean_account, clean_text, is_short

WREN = Profile(handle="wren", name="Jenny Wren")


def clean(text: str, **fields: object) -> str:
    return clean_text(Post(id="1", text=text, **fields))


def boring_tweet(tweet: str) -> bool:
    """huggingtweets' own rule, as in huggingtweets-demo.ipynb."""
    return len([None for w in tweet.split() if all(bs not in w.lower() for bs in ["http", "@", "#"])]) < 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("look https://t.co/abc", "look"),
        ("https://t.co/abc look", "look"),
        ("one https://t.co/abc http://x.org/?q=1&amp;r two", "one two"),
        ("one\nhttps://t.co/abc https://t.co/def\ntwo", "one\ntwo"),
        ("one\n\nhttps://t.co/abc", "one"),
        ("鳥を見たhttps://t.co/abcです", "鳥を見たです"),
        ("새를 봤다https://t.co/abc입니다", "새를 봤다입니다"),
        ("(https://t.co/abc)", "("),
    ],
)
def test_links_go_and_glued_text_stays(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_known_links_go_whatever_they_look_like() -> None:
    assert clean("see wren.org/a now, wren.org/abc", links=("wren.org/a", "wren.org/abc", "")) == "see now,"


def test_escapes_are_undone_once() -> None:
    assert clean("a &lt; b &amp;amp; c &gt; d") == "a < b &amp; c > d"


def test_names_before_a_reply_go_only_in_replies() -> None:
    text = "@jay @owl_2 I agree with @robin"
    assert clean(text) == text
    assert clean(text, reply_to_id="5") == clean(text, reply_to_handle="jay") == "I agree with @robin"


def test_composed_letters_but_not_compatibility_forms() -> None:
    assert clean("cafe\u0301 ①™ ﾊﾝ") == "café ①™ ﾊﾝ"


def test_control_characters_go_and_joiners_stay() -> None:
    assert clean("a\x00b\x07\u202ec\u2066\ufeff\ud83d d") == "abc d"
    family = "👩\u200d👧 ❤\ufe0f می\u200cکنم"
    assert clean(family) == family


def test_newlines_are_one_kind_and_two_at_most() -> None:
    assert clean(" a \r\n b\r\r\n\u2028\n\n c\t\t d\u00a0 ") == "a\nb\n\nc d"


@pytest.mark.parametrize(
    "text",
    [
        "<|endoftext|>",
        "<|im_start|>",
        "<|<|x|>endoftext|>",
        "<\u202a|endoftext|>",
        "<a@b.org|endoftext|>",
        "&lt;|endoftext|&gt;",
    ],
)
def test_no_special_token_of_a_model_is_left(text: str) -> None:
    assert "<|" not in clean(f"one {text} two")


def test_mail_addresses_go_and_handles_stay() -> None:
    assert clean("write to jenny.wren+x@mail.example.org, or連絡はa@b.jpまで") == "write to , or連絡はまで"
    kept = "ask @Gargron@mastodon.social or .@nasa.Now"
    assert clean(kept) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hi",
        "good morning",
        "good morning all",
        "@jay @owl yes",
        "@jay yes it is",
        "#a #b #c d",
        "a#1 b c",
        "see HTTP now ok",
        "새를 봤다",
        "오늘 새를 봤다",
        "guten Morgen, Welt",
        "  one   two  ",
        "one\ntwo\nthree",
    ],
)
def test_with_spaces_the_rule_is_that_of_huggingtweets(text: str) -> None:
    assert is_short(text) is boring_tweet(text)


@pytest.mark.parametrize(
    "text",
    [
        "今日は鳥を見ました",
        "おはようございます",
        "วันนี้ฉันเห็นนก",
        "ວັນນີ້ຂ້ອຍເຫັນນົກ",
        "ថ្ងៃនេះខ្ញុំឃើញបក្សី",
        "ဒီနေ့ငှက်တွေ့တယ်",
        "#鳥 今日は鳥を見た",
        "@jayさんと鳥を見ました",
    ],
)
def test_without_spaces_the_amount_decides(text: str) -> None:
    assert boring_tweet(text)
    assert not is_short(text)


@pytest.mark.parametrize(
    "text", ["はい", "草", "そうです", "ครับ", "#今日は鳥を見ました", "\uff03今日は鳥を見ました", "😀😀😀😀😀😀"]
)
def test_little_is_little_in_every_script(text: str) -> None:
    assert is_short(text)


def test_the_counts_are_those_of_huggingtweets() -> None:
    texts = [
        "I saw a wren",
        "I SAW a wren https://t.co/x",
        "RT @jay: I saw you",
        "hi",
        "鳥",
        "\uff29 saw a wren",
        "you hear it sing",
    ]
    posts = [Post(id=str(n), text=t, is_retweet=t.startswith("RT @")) for n, t in enumerate(texts)]
    rows, counts = clean_account(posts, WREN)
    assert (counts.downloaded, counts.retweets, counts.short, counts.kept) == (7, 1, 2, 4)
    assert [row.text for row in rows] == ["I saw a wren", "you hear it sing"]
    assert counts.characters == sum(len(row.text) for row in rows) == 28
    assert (counts.handle, counts.name, rows[0].handle) == ("wren", "Jenny Wren", "wren")


def test_a_thread_answers_itself_in_either_order() -> None:
    posts = [
        Post(id="3", text="and on it goes", reply_to_id="2"),
        Post(id="2", text="&gt; short", reply_to_id="1"),
        Post(id="1", text="so it begins here"),
        Post(id="4", text="@jay not of mine", reply_to_id="99"),
        Post(id="5", text="I answer to myself", reply_to_id="5"),
        Post(id="6", text="RT @jay: no answer", is_retweet=True),
        Post(id="7", text="after a retweet comes", reply_to_id="6"),
    ]
    rows, _ = clean_account(iter(posts), WREN)
    assert {row.id: row.answers for row in rows} == {"3": "> short", "1": None, "4": None, "5": None, "7": None}


def test_nothing_kept_is_an_error_that_counts() -> None:
    with pytest.raises(NoPosts, match="2 posts, of which 1 retweets and 1 too short"):
        clean_account([Post(id="1", text="RT @jay: x", is_retweet=True), Post(id="2", text="hi")], WREN)
    with pytest.raises(NoPosts, match="no posts"):
        clean_account([], WREN)


@pytest.mark.parametrize("unit", ["http:", "\nhttps://a ", "@a ", "a.", "<|", " ", "\n", "a@b.", "&", "#", "a@"])
def test_hostile_texts_take_linear_time(unit: str) -> None:
    start = time.process_time()
    is_short(clean(unit * (50_000 // len(unit)), reply_to_id="1"))
    assert time.process_time() - start < 0.5
