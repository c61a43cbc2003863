"""Mastodon's export: every packing of it, and nothing in it that was not for everybody."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import Unreadable, UserError
from models.records import Post
from tests.fakes.mastodon import mention
from tests.fakes.mastodon_archive import ACTOR_ID, FOLLOWERS, PUBLIC, actor, announce, create, outbox
from trainer.clean import clean_text
from trainer.sources.mastodon_archive import MastodonArchive, is_export

HANDLE = "robin@toots.test"

Json = dict[str, Any]


def bare(folder: Path, files: dict[str, str]) -> list[Path]:
    paths = []
    for name, text in files.items():
        paths.append(folder / name.replace("/", "_"))
        paths[-1].write_text(text)
    return paths


def zipped(folder: Path, files: dict[str, str]) -> list[Path]:
    with zipfile.ZipFile(folder / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return [folder / "archive.zip"]


def tarred(folder: Path, files: dict[str, str]) -> list[Path]:
    with tarfile.open(folder / "archive-1.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            data = text.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return [folder / "archive-1.tar.gz"]


Pack = Callable[[Path, dict[str, str]], list[Path]]
PACKINGS = [bare, zipped, tarred]


async def posts_of(inputs: Sequence[Path], handle: str = HANDLE) -> list[Post]:
    return [post async for post in MastodonArchive(inputs).posts(handle)]


@pytest.mark.parametrize("pack", PACKINGS)
async def test_every_packing_gives_the_owner_and_the_posts(tmp_path: Path, pack: Pack) -> None:
    long_name = "media_attachments/files/" + "x" * 200 + "/original/ä.png"  # a tar needs an extended header for it
    files = {
        "outbox.json": outbox(create(1, "<p>one</p>"), create(2, "<p>two &amp; <br>a half</p>")),
        long_name if pack is not bare else "picture.png": "\x89PNG",
        "likes.json": json.dumps({"id": "likes.json", "type": "OrderedCollection", "orderedItems": ["https://a.b/1"]}),
        "actor.json": json.dumps(actor()),
    }
    inputs = pack(tmp_path, files)
    profile = await MastodonArchive(inputs).profile(None)
    assert (profile.handle, profile.name, profile.bio) == (HANDLE, "Robin Redbreast", "Sings at dawn.")
    assert profile.opted_out is None  # whoever has the export has the account
    one, two = await posts_of(inputs)
    assert one == Post(id="1", text="one", is_escaped=False, created_at=datetime(2022, 12, 1, 8, tzinfo=UTC), lang="en")
    assert two.text == "two &\na half"


@pytest.mark.parametrize("pack", PACKINGS)
def test_an_export_is_told_from_an_archive_of_x(tmp_path: Path, pack: Pack) -> None:
    assert is_export(pack(tmp_path, {"outbox.json": outbox(create(1, "<p>one</p>"))}))
    if pack is not tarred:  # X packs none
        tweets = 'window.YTD.tweets.part0 = [{"full_text": "what is \\"orderedItems\\"?"}]'
        assert not is_export(pack(tmp_path, {"data/tweets.js": tweets, "data/account.js": "window.YTD = []"}))


@pytest.mark.parametrize("folder", ["", "archive-20221201/", "./", "C:\\x\\"])
@pytest.mark.parametrize("pack", [zipped, tarred])
async def test_the_files_may_lie_in_a_folder(tmp_path: Path, pack: Pack, folder: str) -> None:
    files = {f"{folder}._outbox.json": "junk of a Mac", f"{folder}outbox.json": outbox(create(1, "<p>one</p>"))}
    assert [post.text for post in await posts_of(pack(tmp_path, files))] == ["one"]


@pytest.mark.parametrize(
    ("to", "cc", "is_public"),
    [
        ((PUBLIC,), (FOLLOWERS,), True),
        (("as:Public",), (FOLLOWERS,), True),
        ("Public", (), True),
        ((FOLLOWERS,), (PUBLIC,), False),  # unlisted
        ((FOLLOWERS,), ("as:Public",), False),
        ((FOLLOWERS,), (), False),
        (("https://far.test/users/gull",), (), False),
        ((), (), False),
        (None, None, False),
        ([["as:Public"]], (), False),
    ],
)
async def test_only_posts_for_everybody_come_out(tmp_path: Path, to: object, cc: object, is_public: bool) -> None:
    text = outbox(create(1, "<p>said</p>", to=to, cc=cc), create(2, "<p>else</p>"))
    assert [post.id for post in await posts_of(bare(tmp_path, {"outbox.json": text}))] == ["1", "2"][not is_public :]


async def test_a_note_whose_activity_tells_another_audience_stays_private(tmp_path: Path) -> None:
    activity = create(1, "<p>said</p>")
    activity["to"] = [FOLLOWERS]
    inner = create(2, "<p>said</p>")
    inner["object"]["to"] = [FOLLOWERS]
    assert await posts_of(bare(tmp_path, {"outbox.json": outbox(activity, inner)})) == []


async def test_a_boost_is_a_retweet_and_private_ones_are_not_counted(tmp_path: Path) -> None:
    address = "https://far.test/users/gull/statuses/5"
    items = [announce(1, address), announce(2, {"id": address, "content": "theirs"}), announce(3, address, to=())]
    posts = await posts_of(bare(tmp_path, {"outbox.json": outbox(*items)}))
    assert [(post.id, post.text, post.is_retweet) for post in posts] == [("1", address, True), ("2", address, True)]


async def test_replies_and_threads_are_told_apart(tmp_path: Path) -> None:
    tags = [
        {"type": "Mention", "href": "https://far.test/users/owl", "name": "@owl@far.test"},
        {"type": "Mention", "href": "https://far.test/users/gull", "name": "@gull@far.test"},
        {"type": "Emoji", "name": ":bird:"},
    ]
    text = f"<p>{mention('gull', 'far.test')} {mention('owl', 'far.test')} I agree :bird:</p>"
    items = [
        create(1, "<p>One.</p>"),
        create(2, "<p>Two.</p>", inReplyTo=f"{ACTOR_ID}/statuses/1"),
        create(3, text, inReplyTo="https://far.test/users/gull/statuses/1", tag=tags),
        create(4, "<p>Who?</p>", inReplyTo="https://far.test/objects/1"),
    ]
    _, second, reply, plain = await posts_of(bare(tmp_path, {"outbox.json": outbox(*items)}))
    assert (second.reply_to_id, second.reply_to_handle) == ("1", None)
    assert (reply.reply_to_id, reply.reply_to_handle) == (None, "gull@far.test")
    assert clean_text(reply) == "I agree"
    assert (plain.reply_to_id, plain.reply_to_handle) == (None, None)


async def test_other_activities_and_kinds_are_passed_over_and_each_post_comes_once(tmp_path: Path) -> None:
    without_content = create(5, "", contentMap={"ja": "<p>東京</p>"})
    del without_content["object"]["content"]
    items = [
        create(1, "<p>one</p>"),
        create(1, "<p>one</p>"),
        create(2, "<p>which?</p>", type="Question"),
        create(3, "<p>gone</p>", type="Tombstone"),
        {"type": "Delete", "object": "x"},
        "https://toots.test/users/robin/statuses/4",
        None,
        without_content,
        create(6, "<p>both</p>", contentMap={"de": "<p>beide</p>", "en": "<p>both</p>"}, id="https://x.test/objects/6"),
    ]
    posts = await posts_of(bare(tmp_path, {"outbox.json": outbox(*items)}))
    assert [(post.id, post.text, post.lang) for post in posts] == [
        ("1", "one", "en"),
        ("2", "which?", "en"),
        ("5", "東京", "ja"),
        ("https://x.test/objects/6", "both", None),
    ]


async def test_without_actor_json_the_addresses_tell_the_owner(tmp_path: Path) -> None:
    inputs = bare(tmp_path, {"outbox.json": outbox(announce(1, "https://a.b/c"), create(2, "<p>x</p>"))})
    profile = await MastodonArchive(inputs).profile(None)
    assert (profile.handle, profile.name) == (HANDLE, "robin")
    numbered = create(3, "<p>x</p>")
    numbered["actor"] = "https://toots.test/ap/users/116"  # as Mastodon 4.5 may name it
    inputs = bare(tmp_path, {"outbox(1).json": outbox(numbered)})
    assert (await MastodonArchive(inputs).profile(None)).handle == HANDLE
    numbered["object"]["url"] = None
    inputs = bare(tmp_path, {"outbox(2).json": outbox(numbered)})
    with pytest.raises(Unreadable, match="does not say whose posts"):
        await MastodonArchive(inputs).profile(None)
    assert (await MastodonArchive(inputs).profile("@robin@toots.test")).handle == HANDLE


@pytest.mark.parametrize("asked", ["@Robin@toots.test", "robin@TOOTS.test", "robin", "@robin"])
async def test_the_owner_may_be_asked_for_by_any_spelling(tmp_path: Path, asked: str) -> None:
    inputs = zipped(tmp_path, {"actor.json": json.dumps(actor()), "outbox.json": outbox(create(1, "<p>x</p>"))})
    assert (await MastodonArchive(inputs).profile(asked)).handle.casefold() == HANDLE
    assert len(await posts_of(inputs, asked)) == 1


async def test_a_server_may_lie_below_the_handle_s_domain(tmp_path: Path) -> None:
    owner = json.dumps(actor(id="https://social.toots.test/users/robin"))
    inputs = zipped(tmp_path, {"actor.json": owner, "outbox.json": outbox(create(1, "<p>x</p>"))})
    assert (await MastodonArchive(inputs).profile(HANDLE)).handle == HANDLE
    with pytest.raises(Unreadable):
        await MastodonArchive(inputs).profile("robin@test")


@pytest.mark.parametrize("asked", ["gull@toots.test", "robin@far.test", "gull"])
async def test_another_s_archive_is_refused(tmp_path: Path, asked: str) -> None:
    inputs = zipped(tmp_path, {"actor.json": json.dumps(actor()), "outbox.json": outbox(create(1, "<p>x</p>"))})
    with pytest.raises(Unreadable, match=f"it is the archive of @{HANDLE}, not of @{asked}"):
        await MastodonArchive(inputs).profile(asked)
    with pytest.raises(Unreadable, match="not of"):
        await posts_of(inputs, asked)


async def test_archives_of_two_accounts_are_refused(tmp_path: Path) -> None:
    first = bare(tmp_path, {"actor.json": json.dumps(actor()), "outbox.json": outbox(create(1, "<p>x</p>"))})
    second = bare(tmp_path, {"actor2.json": json.dumps(actor(preferredUsername="gull"))})
    with pytest.raises(Unreadable, match="several accounts"):
        await MastodonArchive([*first, *second]).profile(None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" ", "no posts in it|no list of posts"),
        ("{}", "no posts in it|no list of posts"),
        ('{"orderedItems": 5}', "no list of posts"),
        (outbox(create(1, "x"))[:-30], "cut off or damaged"),
        (outbox("https://a.b/1", "https://a.b/2"), "none of its 2 entries"),
        ('{"orderedItems": [' + "[" * 200_000, "nested deeper|cut off"),
        ('{"orderedItems": [' + "1" * 6_000 + "]", "damaged"),
        ('{"x": "' + "x" * 300_000 + '", "orderedItems": []}', "no list of posts"),
    ],
)
async def test_what_is_no_outbox_is_told(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        await posts_of(bare(tmp_path, {"outbox.json": text}))


async def test_a_damaged_actor_and_one_that_is_not_utf_8_are_told(tmp_path: Path) -> None:
    for data in (b"{", b"\xff\xfe{", b"[" * 100_000):
        inputs = bare(tmp_path, {"outbox.json": outbox(create(1, "<p>x</p>"))})
        (tmp_path / "actor.json").write_bytes(data)
        with pytest.raises(Unreadable, match=r"actor\.json: the file is damaged"):
            await MastodonArchive([*inputs, tmp_path / "actor.json"]).profile(None)


@pytest.mark.parametrize("pack", [zipped, tarred])
async def test_an_archive_without_an_outbox_is_told(tmp_path: Path, pack: Pack) -> None:
    inputs = pack(tmp_path, {"actor.json": json.dumps(actor()), "data/tweets.js": "window.YTD.tweets.part0 = []"})
    with pytest.raises(Unreadable, match=r"no posts in it|is not there"):
        await posts_of(inputs)


async def test_a_cut_or_foreign_tar_gz_is_told(tmp_path: Path) -> None:
    (path,) = tarred(tmp_path, {"outbox.json": outbox(*(create(n, f"<p>{n}</p>") for n in range(2000)))})
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], whole[:15], gzip.compress(b"x" * 5000), b"\x1f\x8bnonsense"):
        path.write_bytes(data)
        with pytest.raises(Unreadable):
            await posts_of([path])


@pytest.mark.parametrize("name", ["outbox.json", "media/x.png"])
async def test_a_tar_bomb_is_refused(tmp_path: Path, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.size = 300 << 20
    with gzip.open(tmp_path / "bomb.tar.gz", "wb") as stream:
        stream.write(info.tobuf())
        stream.write(bytes(1 << 20))
    with pytest.raises(Unreadable, match="zip bomb"):
        await posts_of([tmp_path / "bomb.tar.gz"])


async def test_a_tar_s_long_headers_are_not_taken_into_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 45 << 20
    (tmp_path / "long.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(45 << 20), 1))
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match="is not there"):
            await posts_of([tmp_path / "long.tar.gz"])
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


async def test_a_locked_zip_and_a_missing_file_are_told(tmp_path: Path) -> None:
    (path,) = zipped(tmp_path, {"outbox.json": outbox(create(1, "<p>x</p>"))})
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(Unreadable, match="password"):
        await posts_of([path])
    with pytest.raises(Unreadable, match="can't be opened"):
        await posts_of([tmp_path / "nothing.json"])


@pytest.mark.parametrize("pack", PACKINGS)
async def test_memory_does_not_grow_with_the_posts(tmp_path: Path, pack: Pack) -> None:
    text = outbox(*(create(number, "<p>" + "A song about a tree. " * 40 + "</p>") for number in range(4000)))
    inputs = pack(tmp_path, {"outbox.json": text})
    assert len(text) > 8 << 20
    del text
    tracemalloc.start()
    try:
        count = 0
        async for _ in MastodonArchive(inputs).posts(HANDLE):
            count += 1
        assert count == 4000
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([PUBLIC, ACTOR_ID]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_export_is_posts_or_a_typed_error(tmp_path: Path, data: st.DataObject) -> None:
    activity = create(1, "<p>x</p>") | data.draw(
        st.dictionaries(st.sampled_from(sorted(create(1, ""))), JSON, max_size=2)
    )
    if isinstance(activity["object"], dict):
        activity["object"] |= data.draw(
            st.dictionaries(st.sampled_from(sorted(create(1, "")["object"])), JSON, max_size=3)
        )
    owner = actor() | data.draw(st.dictionaries(st.sampled_from(sorted(actor())), JSON, max_size=2))
    files = {"outbox.json": outbox(activity, data.draw(JSON)), "actor.json": json.dumps(owner)}
    try:
        inputs = zipped(tmp_path, files)
        await MastodonArchive(inputs).profile(data.draw(st.sampled_from([None, HANDLE])))
        posts = await posts_of(inputs)
    except UserError:
        return
    for post in posts:
        post.text.encode()
