"""Cleaning: what is taken out of a post, what is too short to learn from, and the counts on the card."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import NoPosts
from models.records import Post, Profile
from trainer.clean import MAX_CHARACTERS, clean_account, clean_text, is_short

WREN = Profile(handle="wren", name="Jenny Wren")
# What cleaning looks for, whole and in halves, so that taking out one thing puts together another.
# fmt: off
PIECES = [
    "\x00", "\x07", "\ufeff", "\u202e", "\u2066", "\ud83d", "\ufffd", "\u200d", "\ufe0f", "👩", "👧", "🏳",
    "<|", "|>", "<\uff5c", "\uff5c>", "endoftext", "<|endoftext|>", "<s>", "</s>", "[INST]", "<", "|", ">",
    "@", "@jay ", "@a@b.social ", "#", "http", "https://t.co/x", "http:", "://", "t.co/", "wren.org", "a@b.org", "a@",
    "&amp;", "&lt;", "&#104;", "&#0;", "&", "amp;", ";", "\r\n", "\r", "\n", "\u2028", "\x85", " ", "\t", "\xa0",
    "\u0301", "\u3099", "か", "ᄀ", "ᅡ", "e", "é", "\u0958", "\u0338", "鳥", "ครับ", "\u212a",
    "Ã©", "â€™", "Ã", "Â", "…", "+1 415-555-2671", "415", "-", "555", "2671", "(0", "12345678", "+", "(", ")", "x",
]
# fmt: on
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=30).map("".join)
POSTS = st.builds(
    Post,
    id=st.just("1"),
    text=TEXTS,
    is_escaped=st.booleans(),
    reply_to_id=st.sampled_from([None, "2"]),
    links=st.lists(st.sampled_from(["://", "http", "か", "<|", "wren.org", "e"]), max_size=2).map(tuple),
)
adversarial = settings(max_examples=200, deadline=None, database=None, derandomize=True)


def clean(text: str, **fields: object) -> str:
    return clean_text(Post(id="1", text=text, **fields))


def boring_tweet(tweet: str) -> bool:
    """huggingtweets' own rule, as in huggingtweets-demo.ipynb."""
    return len([None for w in tweet.split() if all(bs not in w.lower() for bs in ["http", "@", "#"])]) < 3


@adversarial
@given(POSTS)
def test_cleaning_what_is_clean_changes_nothing(post: Post) -> None:
    text = clean_text(post)
    assert clean_text(Post(id="1", text=text, is_escaped=False)) == text


@adversarial
@given(POSTS)
def test_a_cleaned_text_is_never_longer_than_its_source(post: Post) -> None:
    assert len(clean_text(post)) <= len(unicodedata.normalize("NFC", post.text))


@adversarial
@given(POSTS)
def test_no_control_character_and_no_special_token_survives(post: Post) -> None:
    text = clean_text(post)
    assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c != "\n"]
    assert not [token for token in ("<|", "<\uff5c", "<s>", "</s>", "[INST]", "\n\n\n") if token in text]


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


def test_a_text_that_is_not_escaped_stays_as_it_is() -> None:
    assert clean("a &lt; b &amp; c", is_escaped=False) == "a &lt; b &amp; c"


@pytest.mark.parametrize(
    "prefix", ["@jay ", "@jay\n", "@Gargron@mastodon.social @jay ", "@jay.bsky.social ", "@a_handle_of_many_letters "]
)
def test_the_names_before_a_reply_go_on_every_platform(prefix: str) -> None:
    assert clean(f"{prefix}I agree @owl", reply_to_id="5") == "I agree @owl"
    assert clean("@jay鳥だ @owl", reply_to_id="5") == "@jay鳥だ @owl"


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
        "<\uff5cend▁of▁sentence\uff5c>",
        "<<s>/s>",
        "<start_of_turn>",
        "[INST]",
    ],
)
def test_no_special_token_of_a_model_is_left(text: str) -> None:
    cleaned = clean(f"one {text} two")
    assert not [token for token in ("<|", "<\uff5c", "<s>", "</s>", "<start", "[INST]") if token in cleaned]


def test_text_that_was_read_in_the_wrong_encoding_is_mended() -> None:
    assert clean("itâ€™s schÃ¶n here") == "it’s schön here"
    assert clean("L’Hôpital É… “Ångström”") == "L’Hôpital É… “Ångström”"


def test_a_text_beyond_the_longest_post_is_cut() -> None:
    text = clean("\u0958" * 2 * MAX_CHARACTERS)
    assert len(text) == MAX_CHARACTERS
    assert clean(text) == text


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
        "Twitterやめたいな",
        "今天下雨了",
        "오늘날씨진짜좋다",
    ],
)
def test_without_spaces_the_amount_decides(text: str) -> None:
    assert boring_tweet(text)
    assert not is_short(text)


@pytest.mark.parametrize(
    "text",
    [
        "はい",
        "草",
        "そうです",
        "ครับ",
        "不是啊",
        "#今日は鳥を見ました",
        "\uff03今日は鳥を見ました",
        "😀😀😀😀😀😀",
        "哈哈哈哈哈哈哈哈",
        "ああああああああああ",
        "ㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋ",
        "5555555555",
    ],
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


def test_the_text_that_a_source_gives_is_answered_where_it_is_not_the_accounts_own() -> None:
    posts = [
        Post(id="1", text="so it begins here", answers="@wren what &lt;s&gt; begins? https://t.co/x", reply_to_id="9"),
        Post(id="2", text="and my own counts first", answers="as the source has it", reply_to_id="1"),
        Post(id="3", text="nothing to answer here", answers="https://t.co/x", reply_to_id="8"),
        Post(id="4", text="nobody could read that", answers="it\ufffds lost", reply_to_id="7"),
    ]
    rows, _ = clean_account(posts, WREN)
    assert [row.answers for row in rows] == ["what begins?", "so it begins here", None, None]


def test_every_kept_post_is_learned_or_left_out_for_a_reason() -> None:
    texts = [
        "so it begins here, with a wren",
        "So it begins here, with a wren",
        "so it begins here, with a wren!",
        "it\ufffds lost for good",
        "hi \ufffd",
        "and something else altogether",
    ]
    rows, counts = clean_account([Post(id=str(n), text=t) for n, t in enumerate(texts)], WREN)
    assert counts.left_out == {"garbled": 1, "repeated": 1, "much alike": 1}
    assert (counts.short, counts.kept, counts.learned, len(rows)) == (1, 5, 2, 2)
    assert [row.id for row in rows] == ["0", "5"]


def test_posts_that_nobody_can_read_are_no_rows_and_still_counted() -> None:
    rows, counts = clean_account([Post(id="1", text="it\ufffds all lost here")], WREN)
    assert rows == []
    assert (counts.kept, counts.learned, counts.languages) == (1, 0, ())


def test_the_languages_are_those_of_the_learned_posts() -> None:
    texts = ["the kettle sang again", "der Kessel sang schon wieder", "and the pigeon listened to it"]
    posts = [Post(id=t, text=t, lang="de" if "der" in t else "en") for t in texts]
    assert clean_account(posts, WREN)[1].languages == ("en", "de")


def test_nothing_kept_is_an_error_that_counts() -> None:
    with pytest.raises(NoPosts, match="2 posts, of which 1 retweets and 1 too short"):
        clean_account([Post(id="1", text="RT @jay: x", is_retweet=True), Post(id="2", text="hi")], WREN)
    with pytest.raises(NoPosts, match="no posts"):
        clean_account([], WREN)


@pytest.mark.parametrize(
    "unit", ["http:", "\nhttps://a ", "@a ", "a.", "<|", " ", "\n", "a@b.", "&", "#", "a@", "1-", "1 ", "Ã", "\u0301"]
)
def test_hostile_texts_take_linear_time(unit: str) -> None:
    start = time.process_time()
    is_short(clean(unit * (50_000 // len(unit)), reply_to_id="1"))
    assert time.process_time() - start < 3


def test_a_reference_of_thousands_of_digits_is_no_trouble() -> None:
    assert clean_text(Post(id="1", text=f"before &#{'1' * 5000}; after")) == "before after"
