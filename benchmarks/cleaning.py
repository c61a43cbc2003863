"""What cleaning keeps: `python -m benchmarks.cleaning [--accounts FOLDER] [--corpus FILE.txt.xz]`.

Prints how many ordinary sentences the content filter keeps, beside huggingtweets' (benchmarks/sentences: Japanese,
Chinese, Thai, written for this; with --corpus the lines of such a file too, by script); on how many English posts the
two agree; how fast posts are cleaned; and, for each JSONL file of accounts, where its posts went.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import regex

from models.card import where_posts_went
from models.records import Post, Profile
from trainer.clean import clean_account, clean_text, is_short
from trainer.sources.fields import post_from

HERE = Path(__file__).parent
SAMPLE = HERE.parent / "samples" / "nightbus_nell.jsonl"
LINES = 5_000  # of each script of a corpus
MANY = 100_000  # posts, for the speed

T = TypeVar("T")

_SCRIPTS: dict[str, regex.Pattern[str]] = {
    "Japanese": regex.compile(r"[\p{Hiragana}\p{Katakana}]"),
    "Chinese": regex.compile(r"\p{Han}"),
    "Thai": regex.compile(r"\p{Thai}"),
    "Korean": regex.compile(r"\p{Hangul}"),
    "Cyrillic": regex.compile(r"\p{Cyrillic}"),
    "Latin": regex.compile(r"\p{Latin}"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What cleaning keeps.")
    parser.add_argument("--accounts", type=Path, help="a folder of JSONL files, one an account")
    parser.add_argument("--corpus", type=Path, help="a .txt.xz file of sentences, one a line")
    args = parser.parse_args()
    for name in ("ja", "zh", "th"):
        show_kept(name, (HERE / "sentences" / f"{name}.txt").read_text(encoding="utf-8").splitlines())
    if args.corpus:
        for script, lines in by_script(args.corpus).items():
            show_kept(f"{args.corpus.name}, {script}", lines)
    files = [SAMPLE, *(sorted(args.accounts.glob("*.jsonl")) if args.accounts else [])]
    accounts = {path.stem: read_posts(path) for path in files}
    for name, posts in accounts.items():
        show_agreement(name, [post for post in posts if not post.is_retweet])
    for name, posts in accounts.items():
        show_account(name, posts)
    show_speed([post for posts in accounts.values() for post in posts if not post.is_retweet])


def keeps(text: str) -> bool:
    """huggingtweets' content filter: at least three words that hold no http, @ or #."""
    return sum(not any(mark in word.lower() for mark in ("http", "@", "#")) for word in text.split()) >= 3


def as_huggingtweets(text: str) -> str:
    """A post's text as huggingtweets cleans it: three escapes undone, no links nor what is glued to them, one line."""
    for escape, sign in (("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(escape, sign)
    return " ".join(regex.sub(r"\s?https?:\S+", " ", text).split())


def show_kept(name: str, lines: list[str]) -> None:
    ours = share(lines, lambda line: not is_short(clean_text(Post(id="1", text=line, is_escaped=False))))
    theirs = share(lines, lambda line: keeps(as_huggingtweets(line)))
    print(f"{name}: of {len(lines):,} sentences {ours:.1%} are kept, by huggingtweets' filter {theirs:.1%}")


def show_agreement(name: str, posts: list[Post]) -> None:
    alike = share(posts, lambda post: keeps(as_huggingtweets(post.text)) is not is_short(clean_text(post)))
    print(f"@{name}: both filters say the same of {alike:.2%} of {len(posts):,} posts")


def show_account(name: str, posts: list[Post]) -> None:
    started = time.perf_counter()
    _, counts = clean_account(posts, Profile(handle=name, name=name))
    seconds = time.perf_counter() - started
    print(f"{where_posts_went(counts)} {counts.characters:,} characters, {counts.languages}, {seconds:.2f} s")


def show_speed(posts: list[Post]) -> None:
    """Made posts, each of two halves of others, so that few are alike."""
    rng = random.Random(1)
    made = []
    for number in range(MANY):
        one, other = rng.choice(posts).text, rng.choice(posts).text
        made.append(Post(id=str(number), text=f"{one[: len(one) // 2]} {other[len(other) // 2 :]}"))
    started = time.perf_counter()
    clean_account(made, Profile(handle="made", name="made"))
    print(f"{MANY:,} posts are cleaned in {time.perf_counter() - started:.1f} s")


def share(values: list[T], holds: Callable[[T], bool]) -> float:
    return sum(map(holds, values)) / len(values)


def by_script(corpus: Path) -> dict[str, list[str]]:
    """At most LINES lines of each script, chosen by a seed; a line is of the table's first script that it holds."""
    found: dict[str, list[str]] = {}
    with lzma.open(corpus, "rt", encoding="utf-8") as file:
        for line in file:
            if script := next((name for name, letters in _SCRIPTS.items() if letters.search(line)), None):
                found.setdefault(script, []).append(line.strip())
    rng = random.Random(1)
    return {script: rng.sample(lines, min(LINES, len(lines))) for script, lines in found.items()}


def read_posts(path: Path) -> list[Post]:
    with path.open(encoding="utf-8") as file:
        found = [post_from(json.loads(line), fallback_id=str(number)) for number, line in enumerate(file)]
    return [post for post in found if post]


if __name__ == "__main__":
    main()
