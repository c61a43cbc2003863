"""HTML as servers of the fediverse write it -> the text that its author typed.

It is read tag by tag, without a tree, in time linear in its length: the standard library's html.parser took 31 s for
60,000 characters of `<a <a <a …`, and a server can send megabytes.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection

LINES_AFTER = {"p": 2, "blockquote": 2, "pre": 2, "h1": 2, "h2": 2, "h3": 2, "h4": 2, "h5": 2, "h6": 2}
LINES_AFTER |= dict.fromkeys(("div", "ul", "ol", "li", "hr", "table", "tr", "dt", "dd"), 1)
SKIPPED = ("script", "style", "title", "template")  # never meant to be read
QUOTED = "quote-inline"  # "RE: address", for those whose software shows no quotes

# No part crosses another `<` or gives back what it took, so that each character is looked at a few times at most.
_PIECE = re.compile(
    r"""<(?P<end>/?)(?P<name>[A-Za-z][A-Za-z0-9-]*+)(?P<attributes>(?:[^<>"']|"[^"<]*"|'[^'<]*')*+)>"""
    r"""|<[A-Za-z!/?][^<>]*+>"""  # comments, and tags with an odd number of quotes
    r"""|(?P<text>[^<]++|<)""",
)
_CLASSES = re.compile(r"""(?<![\w-])(?:class|rel)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++))""", re.IGNORECASE)
_TAGGED = frozenset(("mention", "hashtag", "tag"))  # links that are the author's own @names and #words
_BLANKS = re.compile(r"[ \t\n\r\f]++")
_HUGE_NUMBER = re.compile(r"&#\d{8,}+;?")  # html.unescape raises ValueError for one of more than 4,300 digits
_SHORTCODE = re.compile(r":(\w++):", re.ASCII)


def html_text(markup: str) -> str:
    """The text: a blank line between paragraphs, mentions and hashtags as they are shown, no addresses, no quotes.

    Links go altogether, but for those whose text is words. Entities are unescaped, once. Any text will do, however
    broken; nothing is raised.
    """
    writer = _Writer()
    for piece in _PIECE.finditer(markup):
        if (text := piece["text"]) is not None:
            writer.write(text)
        elif name := piece["name"]:
            if piece["end"]:
                writer.close(name.lower())
            else:
                writer.open(name.lower(), piece["attributes"])
    return writer.text()


def unescape(text: str) -> str:
    """The text with each HTML reference replaced, once, by the character that it stands for."""
    return html.unescape(_HUGE_NUMBER.sub("", text))


def without_emoji(text: str, shortcodes: Collection[str]) -> str:
    """The text without the `:shortcodes:` of pictures that the server keeps."""
    return _SHORTCODE.sub(lambda found: "" if found[1] in shortcodes else found[0], text) if shortcodes else text


class _Writer:
    """Takes tags and text in order."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._lines_due = 0  # line ends before whatever is written next
        self._link: list[str] | None = None  # the text of the link that is open, if it may have to go
        self._skipped = ""  # the element that is left out
        self._depth = 0  # of elements of that name
        self._pre = 0

    def write(self, text: str) -> None:
        if self._skipped:
            return
        text = unescape(text)
        if not self._pre:
            text = _BLANKS.sub(" ", text)
        if self._link is not None:
            self._link.append(text)
        else:
            self._put(text)

    def open(self, name: str, attributes: str) -> None:
        if self._skipped:
            if name == self._skipped == "p":  # a paragraph ends the one before
                self._skipped = ""
            else:
                self._depth += name == self._skipped
                return
        if name == "br":
            self._break()
            return
        classes = {word for found in _CLASSES.findall(attributes) for word in "".join(found).lower().split()}
        if name in SKIPPED or QUOTED in classes:
            self._skipped, self._depth = name, 1
        if name in LINES_AFTER:
            self._end_block(name)
        if name == "a":
            self._end_link()
            if not classes & _TAGGED:
                self._link = []
        elif name == "li" and not self._skipped:
            self._put("- ")
        elif name == "pre":
            self._pre += 1

    def close(self, name: str) -> None:
        if self._skipped:
            self._depth -= name == self._skipped
            if self._depth > 0:
                return
            self._skipped = ""
        if name == "a":
            self._end_link()
        elif name == "pre":
            self._pre = max(0, self._pre - 1)
        if name in LINES_AFTER:
            self._end_block(name)

    def text(self) -> str:
        self._end_link()
        lines = "".join(self._parts).split("\n")
        return "\n".join(line.rstrip() for line in lines).strip()

    def _break(self) -> None:
        if self._link is not None:
            self._link.append(" ")
        self._lines_due = min(self._lines_due + 1, 2)

    def _end_block(self, name: str) -> None:
        self._end_link()  # one that nobody closed
        self._lines_due = max(self._lines_due, LINES_AFTER[name])

    def _end_link(self) -> None:
        if self._link is None:
            return
        text = "".join(self._link)
        self._link = None
        words = text.strip()
        is_address = not _BLANKS.search(words) and any(mark in words for mark in "./:")
        if not is_address:
            self._put(text)

    def _put(self, text: str) -> None:
        at_start = self._lines_due or not self._parts or self._parts[-1].endswith((" ", "\n"))
        if at_start and not self._pre:
            text = text.lstrip(" ")
        if text:
            if self._parts:
                self._parts.append("\n" * self._lines_due)
            self._lines_due = 0
            self._parts.append(text)
