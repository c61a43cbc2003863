"""Accounts with as many posts of each kind as those of five models of huggingtweets. Every word is made up."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.fakes.x_api import FakePost, FakeX


@dataclass(frozen=True, kw_only=True)
class Row:
    """A column of a published card: an account's counts. kept = downloaded - retweets - short."""

    handle: str
    name: str
    downloaded: int
    retweets: int
    short: int
    kept: int
    lang: str = "en"


MODELS: dict[str, tuple[Row, ...]] = {
    "bichebuni": (
        Row(handle="bichebuni", name="Ellie 🐰 🤖", downloaded=1578, retweets=559, short=216, kept=803),
    ),
    "soashworth": (
        Row(handle="soashworth", name="S Ashworth", downloaded=3250, retweets=266, short=394, kept=2590),
    ),
    "annhertzz": (Row(handle="annhertzz", name="ann", downloaded=3247, retweets=34, short=501, kept=2712),),
    "spookymachine": (
        Row(handle="spookymachine", name="spooky 👻 machine", downloaded=3236, retweets=217, short=254, kept=2765),
    ),
    "h_ototake-hirox246-ochyai": (
        Row(
            handle="h_ototake", name="乙武", downloaded=3248, retweets=281, short=1980, kept=987, lang="ja"
        ),
        Row(handle="hirox246", name="ひろ", downloaded=3240, retweets=2238, short=574, kept=428, lang="ja"),
        Row(
            handle="ochyai", name="落合 ✨", downloaded=3238, retweets=1259, short=1437, kept=542, lang="ja"
        ),
    ),
}  # fmt: skip


def add_accounts(x: FakeX, model: str) -> None:
    """Put a model's accounts on the stand-in for X."""
    for row in MODELS[model]:
        x.add_user(row.handle, name=row.name, posts=_posts(row))


def _posts(row: Row) -> list[FakePost]:
    rng = random.Random(row.handle)
    write, shorts = (_japanese, _JAPANESE_SHORTS) if row.lang == "ja" else (_english, _ENGLISH_SHORTS)
    texts = _different(write, rng)
    kept = [FakePost(text=next(texts), lang=row.lang) for _ in range(row.kept)]
    short = [FakePost(text=rng.choice(shorts), lang=row.lang) for _ in range(row.short)]
    retweets = [
        FakePost(text=f"RT @somebody: {next(texts)}"[:139] + "…", retweet_of=7_000 + n, lang=row.lang)
        for n in range(row.retweets)
    ]
    posts = [*kept, *short, *retweets]
    assert len(posts) == row.downloaded
    rng.shuffle(posts)
    return posts


def _different(write: Callable[[random.Random], str], rng: random.Random) -> Iterator[str]:
    seen: set[str] = set()
    while True:
        text = write(rng)
        if text not in seen:
            seen.add(text)
            yield text


_ENGLISH_SHORTS = ("ok", "lol yes", "so true", "@friend same", "thank you!", "good morning", "#monday again", "no.")
_JAPANESE_SHORTS = ("草", "はい", "おはよう", "それな", "なるほど", "え？", "ねむい", "@friend うん", "😂😂")


def _english(rng: random.Random) -> str:
    who = ("my neighbour", "the cat", "this bus", "a stranger", "my sister", "the landlord", "everyone", "nobody")
    did = ("has stolen", "keeps painting", "wants to marry", "lost", "cooked", "is afraid of", "named", "forgot")
    what = ("the piano", "a pigeon", "my umbrella", "three lamps", "the harbour", "a sandwich", "the moon", "my keys")
    why = (
        "again",
        "for no reason",
        "because it rained",
        "and honestly same",
        "while I watched",
        "at 3am",
        "in silence",
    )
    end = ("help", "I can't even", "more at nine", "tell no one", "send soup", "what a day", "🙃", "#mood", "anyway")
    then = f"{rng.choice(who)} {rng.choice(did)} {rng.choice(what)} {rng.choice(why)}"
    return f"{then}, and {rng.choice(who)} {rng.choice(did)} {rng.choice(what)}. {rng.choice(end)}"


def _japanese(rng: random.Random) -> str:
    when = ("今日は", "昨日の夜、", "朝から", "さっき駅前で", "帰り道に", "会議中に", "久しぶりに", "気がついたら")
    what = ("猫", "隣の人", "古いピアノ", "カレー", "新しい傘", "電車", "図書館", "味噌汁", "友達の犬", "月")
    did = ("を見つけた", "が歌っていた", "を作りすぎた", "に励まされた", "をなくした", "の夢を見た", "を三つ買った")
    but = ("けど、", "ので、", "し、", "から、", "のに、")
    then = (
        "少し泣いた",
        "誰にも言えない",
        "もう一度やりたい",
        "明日も頑張る",
        "まだ眠い",
        "お腹が空いた",
        "笑ってしまった",
    )
    end = ("。", "！", "…", "笑", "😊", "。不思議だ。", "。たぶん。")
    first = f"{rng.choice(when)}{rng.choice(what)}{rng.choice(did)}{rng.choice(but)}"
    return f"{first}{rng.choice(what)}{rng.choice(did)}{rng.choice(but)}{rng.choice(then)}{rng.choice(end)}"
