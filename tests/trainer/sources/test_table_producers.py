"""What the table source finds in the files of the tools that people have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from models.records import Post
from tests.fakes.tables import ID, PRODUCERS, REPLY_ID, WHEN, Produced, snscrape
from trainer.sources.table import Table


async def read(folder: Path, produced: Produced) -> dict[str, Post]:
    path = folder / produced.name
    path.write_bytes(produced.content)
    return {post.id: post async for post in Table([path]).posts("wren")}


@pytest.mark.parametrize("producer", PRODUCERS)
async def test_every_producers_posts_are_read_with_id_and_time(
    tmp_path: Path, producer: Callable[[], Produced]
) -> None:
    produced = producer()
    posts = await read(tmp_path, produced)
    post = posts[ID]
    assert (post.text, post.created_at) == ("I sing at dawn", datetime.fromisoformat(WHEN))
    assert (post.is_retweet, post.reply_to_id, post.reply_to_handle, post.answers) == (False, None, None, None)
    assert len(posts) == 1 + produced.has_retweet + produced.has_reply


@pytest.mark.parametrize("producer", [p for p in PRODUCERS if p().has_retweet])
async def test_every_producers_retweets_are_known(tmp_path: Path, producer: Callable[[], Produced]) -> None:
    posts = await read(tmp_path, producer())
    assert [post.id for post in posts.values() if post.is_retweet] == ["3"]


@pytest.mark.parametrize("producer", [p for p in PRODUCERS if p().has_reply])
async def test_every_producers_replies_know_what_they_answer(tmp_path: Path, producer: Callable[[], Produced]) -> None:
    produced = producer()
    reply = (await read(tmp_path, produced))[REPLY_ID]
    assert (reply.text, reply.reply_to_handle) == ("@jay Louder today", "jay")
    assert (reply.reply_to_id, reply.answers) == (produced.reply_to_id, produced.answers)


@pytest.mark.parametrize("producer", [p for p in PRODUCERS if p().names_author])
async def test_every_producers_author_is_found(tmp_path: Path, producer: Callable[[], Produced]) -> None:
    produced = producer()
    path = tmp_path / produced.name
    path.write_bytes(produced.content)
    assert (await Table([path]).profile(None)).handle == "wren"


async def test_snscrapes_older_name_of_the_text_is_known(tmp_path: Path) -> None:
    assert (await read(tmp_path, snscrape(text="content")))[ID].text == "I sing at dawn"


async def test_the_language_is_kept_where_it_is_told(tmp_path: Path) -> None:
    for producer in PRODUCERS[:3]:
        assert (await read(tmp_path, producer()))[ID].lang == "en"


async def test_links_of_twscrape_are_known_as_they_stand_in_the_text(tmp_path: Path) -> None:
    twscrape = next(p for p in PRODUCERS if p.__name__ == "twscrape")
    assert (await read(tmp_path, twscrape()))[ID].links == ("https://t.co/a",)
