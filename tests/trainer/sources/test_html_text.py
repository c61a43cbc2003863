"""HTML to text: what an author typed comes back, and no text breaks it or keeps it busy."""

from __future__ import annotations

import html
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.mastodon import hashtag, link, mention
from trainer.sources.html_text import html_text, without_emoji


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>one</p><p>two<br>three<br />four</p>", "one\n\ntwo\nthree\nfour"),
        ("<p>a<br><br>b</p>", "a\n\nb"),
        ("<p>a</p>\n\n<p> b </p>", "a\n\nb"),
        ("one\n  line of\tsource", "one line of source"),
        ("<p>a <b>bold</b> word, <em>and</em> more</p>", "a bold word, and more"),
        ("<ul><li>bread</li><li>milk</li></ul><p>bye</p>", "- bread\n- milk\n\nbye"),
        ("<p>see</p><pre><code>if a:\n    b &lt; c</code></pre>", "see\n\nif a:\n    b < c"),
        ("<blockquote><p>said</p></blockquote><p>answered</p>", "said\n\nanswered"),
        ("<p>東京　は<br>晴れ</p>", "東京　は\n晴れ"),  # a blank of full width is no blank of HTML
        ("<script>alert(1)</script><style>p {}</style>words", "words"),
        ("", ""),
    ],
)
def test_paragraphs_lines_and_lists_come_out_as_they_look(markup: str, text: str) -> None:
    assert html_text(markup) == text


def test_entities_are_unescaped_once() -> None:
    assert html_text("<p>&amp;lt;b&amp;gt; &quot;R&amp;D&quot; &#39;x&#39; &lt;3</p>") == "&lt;b&gt; \"R&D\" 'x' <3"


def test_mentions_and_hashtags_stay_and_addresses_go() -> None:
    markup = (
        f"<p>{mention('gull', 'far.test')} look {link('https://example.org/a/long/way')} {hashtag('birds', 'a')}</p>"
    )
    assert html_text(markup) == "@gull look #birds"
    assert html_text("<a href='https://a.b' class='hashtag'>#x</a>") == "#x"
    assert html_text('<a href="https://a.b" rel="tag nofollow">#x</a>') == "#x"


def test_a_link_whose_text_is_words_leaves_the_words() -> None:
    assert html_text('<p>read <a href="https://a.b">this page</a>, all of it</p>') == "read this page, all of it"
    assert html_text('<p>read <a href="https://a.b">a.b/page</a></p>') == "read"


def test_the_address_that_stands_for_a_quote_goes_with_its_paragraph() -> None:
    quote = f'<p class="quote-inline">RE: {link("https://far.test/@x/1")}</p>'
    assert html_text(f"{quote}<p>so true</p>") == "so true"
    assert html_text('so true<span class="quote-inline"><br/><span>RE:</span> <a href="x">x</a></span>!') == "so true!"
    assert html_text('<p class="quote-inline">RE: nobody closes this<p>so true') == "so true"


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("1 < 2 and <3", "1 < 2 and <3"),
        ('<p title="a>b">x</p>', "x"),
        ("<p title='x>y", "y"),
        ("<!-- said --><!DOCTYPE html>x", "x"),
        ("</p></p></a></pre>x", "x"),
        ('<a href="x">https://a.b <p>the rest', "the rest"),
        ("<p", "<p"),
        ("&#" + "1" * 5000 + ";x", "x"),  # html.unescape raises ValueError for it
        ("&#xD800;&#0;&#x110000;", "\ufffd\ufffd\ufffd"),
    ],
)
def test_broken_html_gives_what_can_be_read_of_it(markup: str, text: str) -> None:
    assert html_text(markup) == text


TAGS = "<p> </p> <a> </a> <br> <pre> <li> <!-- --> <script>".split()
PARTS = [*TAGS, '<p class="quote-inline">', "<", ">", "</", "<a ", "class=", '"', "'", "=", "&", "&#", "&#x", ";", "x"]
PIECES = st.sampled_from([*PARTS, "9" * 30, " ", "\n", "\x00", "\ud800"])


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join))
def test_any_text_is_read_without_an_error(markup: str) -> None:
    html_text(markup)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Z"]), max_size=50))
def test_what_was_typed_comes_back(typed: str) -> None:
    assert html_text(f"<p>{html.escape(typed)}</p>") == typed


@pytest.mark.parametrize(
    "piece", ["<", "<a ", "</", "<!--", "<a x='", '<a class=  "', "<a>", "<p class='quote-inline'>", "<pre> \n", "&#1"]
)
def test_a_hostile_text_takes_no_longer_than_its_length_deserves(piece: str) -> None:
    start = time.process_time()
    html_text(piece * (300_000 // len(piece)))
    assert time.process_time() - start < 3  # html.parser: 31 s for 60,000 characters


def test_only_the_shortcodes_of_known_pictures_go() -> None:
    assert without_emoji("hi :blobcat: at 10:30:45, :other:", {"blobcat"}) == "hi  at 10:30:45, :other:"
    assert without_emoji(":a:a:", {"a"}) == "a:"
    assert without_emoji(":a:", ()) == ":a:"
