"""What a training would do, before anything runs: whose posts, from where, on what ground, and what it costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from bot.config import Config
from bot.plans import (
    accounts_of,
    checked_handle,
    checked_name,
    cost_usd,
    digest_of,
    handle_of,
    model_name,
    require_x_api,
    secrets_for,
)
from bot.records import CONSOLE, Caller, JobState
from bot.service import Service
from models.errors import (
    AlreadyHere,
    AlreadyTraining,
    GroundMissing,
    NameTaken,
    NotAllowed,
    NothingGiven,
    OutOfRange,
    SourceOff,
    UnevenFiles,
    Unreadable,
)
from models.records import X_REACH, AccountSource, Ground, RunSpec, SourceSettings, TrainingSettings, XApiSettings
from tests.bot.quick import MEMBER, STRANGER, asked, end_of, entered_in, plan, posts_of, serving, train
from tests.fakes.children.orders import Orders


def file(folder: Path, name: str, content: str = "posts") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def grouped(files: list[Path], *handles: str, source: str | None = None) -> list[tuple[str | None, str, list[str]]]:
    accounts = accounts_of(handles, files, source, "consent")
    return [(a.handle, a.source, [f"{p.parent.name}/{p.name}" for p in a.files]) for a in accounts]


# --- which files are whose --------------------------------------------------------------------------------------------


def test_each_archive_and_each_table_is_one_account(tmp_path: Path) -> None:
    names = ("x.zip", "b.jsonl", "c.ndjson", "d.JSON", "y.ZIP", "e.csv", "f.tsv", "g.txt", "h.tar.gz", "i.tgz")
    tables = ("b.jsonl", "c.ndjson", "d.JSON", "e.csv", "f.tsv", "g.txt")
    assert grouped([file(tmp_path, f"a/{name}") for name in names]) == [
        (None, "table" if name in tables else "archive", [f"a/{name}"]) for name in names
    ]


def test_loose_files_are_one_account_up_to_the_next_of_the_same_name(tmp_path: Path) -> None:
    names = ("a/tweets.js", "a/note-tweet.js", "z/wren.zip", "a/account.js", "b/tweets.js", "b/account.js")
    files = [file(tmp_path, name) for name in names]
    assert grouped(files, "robin", "wren", "finch") == [
        ("robin", "archive", ["a/tweets.js", "a/note-tweet.js", "a/account.js"]),
        ("wren", "archive", ["z/wren.zip"]),
        ("finch", "archive", ["b/tweets.js", "b/account.js"]),
    ]
    mastodon = [file(tmp_path, name) for name in ("c/outbox.json", "c/actor.json")]
    assert grouped(mastodon) == [(None, "archive", ["c/outbox.json", "c/actor.json"])]


def test_several_zips_with_one_handle_are_the_parts_of_one_archive(tmp_path: Path) -> None:
    parts = [file(tmp_path, "a/part1.zip"), file(tmp_path, "a/part2.zip")]
    assert grouped(parts, "robin") == [("robin", "archive", ["a/part1.zip", "a/part2.zip"])]
    assert grouped(parts, "robin", "wren") == [
        ("robin", "archive", ["a/part1.zip"]),
        ("wren", "archive", ["a/part2.zip"]),
    ]
    assert len(grouped(parts)) == 2


def test_handles_are_matched_to_the_files_in_order(tmp_path: Path) -> None:
    files = [file(tmp_path, "a/one.jsonl"), file(tmp_path, "a/two.zip")]
    assert grouped(files, "@Robin", " wren ") == [
        ("Robin", "table", ["a/one.jsonl"]),
        ("wren", "archive", ["a/two.zip"]),
    ]


def test_files_are_of_handles_on_x_before_others_and_the_rest_is_fetched(tmp_path: Path) -> None:
    archive = file(tmp_path, "a/one.zip")
    assert grouped([archive], "wren.bsky.social", "@robin", "@finch@birds.example") == [
        ("robin", "archive", ["a/one.zip"]),
        ("wren.bsky.social", "bluesky", []),
        ("finch@birds.example", "mastodon", []),
    ]
    assert grouped([archive], "@finch@birds.example") == [("finch@birds.example", "archive", ["a/one.zip"])]
    assert grouped([archive], "robin", "wren") == [("robin", "archive", ["a/one.zip"]), ("wren", "x_api", [])]


def test_an_account_that_is_named_twice_is_one() -> None:
    assert grouped([], "@Robin", "https://x.com/robin", "WREN.bsky.social", "wren.bsky.social") == [
        ("Robin", "x_api", []),
        ("wren.bsky.social", "bluesky", []),
    ]


def test_a_source_that_is_named_counts_more_than_the_file_name(tmp_path: Path) -> None:
    files = [file(tmp_path, "a/export.dat")]
    assert grouped(files, source="table") == [(None, "table", ["a/export.dat"])]
    with pytest.raises(Unreadable, match=r"export\.dat"):
        grouped(files)


def test_a_source_to_fetch_from_has_to_fit_the_handle() -> None:
    assert grouped([], "wren.bsky.social", source="bluesky") == [("wren.bsky.social", "bluesky", [])]
    for handle, source in (
        ("wren", "bluesky"),
        ("wren", "mastodon"),
        ("a@b.example", "bluesky"),
        ("a.example", "x_api"),
    ):
        with pytest.raises(OutOfRange, match=f"source:{source}"):
            grouped([], handle, source=source)


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    one, two = file(tmp_path, "a/one.jsonl"), file(tmp_path, "a/two.jsonl")
    with pytest.raises(NothingGiven):
        accounts_of([], [])
    with pytest.raises(UnevenFiles):
        accounts_of(["robin"], [one, two])
    with pytest.raises(Unreadable, match="no such file"):
        accounts_of(["robin"], [tmp_path / "absent.zip"])
    with pytest.raises(OutOfRange):
        accounts_of([f"robin{i}" for i in range(11)], [one])


# --- handles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "handle", "place"),
    [
        ("@nasa", "nasa", "x_api"),
        (" @Nasa_2 ", "Nasa_2", "x_api"),
        ("_x", "_x", "x_api"),
        ("nasa.bsky.social", "nasa.bsky.social", "bluesky"),
        ("@Jay.Example.COM", "jay.example.com", "bluesky"),
        ("robin@mastodon.social", "robin@mastodon.social", "mastodon"),
        ("@Gargron@Mastodon.Social", "Gargron@mastodon.social", "mastodon"),
        ("https://x.com/nasa", "nasa", "x_api"),
        ("https://mobile.twitter.com/@nasa/?lang=en", "nasa", "x_api"),
        ("HTTPS://WWW.X.COM/nasa", "nasa", "x_api"),
        ("https://bsky.app/profile/nasa.bsky.social", "nasa.bsky.social", "bluesky"),
        ("https://mastodon.social/@Gargron", "Gargron@mastodon.social", "mastodon"),
    ],
)
def test_a_handle_or_a_link_tells_where_it_is_from(text: str, handle: str, place: str) -> None:
    assert handle_of(text) == (handle, place)
    assert checked_handle(text) == handle


HOSTILE = (
    *("", "@", "a b", "../etc", "a/b", "x" * 101, "<@5>", "naïve", "-x", "a\x00b", "\ud800", "@@nasa", "a@b@c.example"),
    *("https://x.com/", "https://x.com/a/status/1", "https://bsky.app/profile/did:plc:abc", "javascript:alert(1)"),
    *("robin@localhost", "robin@127.0.0.1", "robin@[::1]", "robin@a..example", "robin@host:8080"),
    *("https://127.0.0.1/@robin", "https://evil.example:99/@robin", "https://user:pass@x.com/robin", "a" * 100_000),
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_can_be_no_handle_is_refused(text: str) -> None:
    with pytest.raises(OutOfRange) as caught:
        handle_of(text)
    assert len(str(caught.value)) < 300


def test_a_handle_that_x_cannot_have_is_refused_before_anything_is_paid() -> None:
    require_x_api(accounts_of(["a" * 15], [], None, "consent"), is_on=True)
    for handle in ("a" * 16, "a-b"):
        with pytest.raises(OutOfRange, match="15 letters"):
            require_x_api(accounts_of([handle], [], None, "consent"), is_on=True)


# --- grounds ----------------------------------------------------------------------------------------------------------


def test_an_archive_is_its_owners_and_everything_else_needs_a_ground(tmp_path: Path) -> None:
    archive, table = file(tmp_path, "one.zip"), file(tmp_path, "two.jsonl")
    (account,) = accounts_of([], [archive])
    assert (account.ground, account.is_proven) == ("own_archive", False)
    assert accounts_of([], [archive], None, "consent")[0].ground == "consent"
    for handles, files in (([], [table]), (["wren.bsky.social"], []), (["robin", "wren.bsky.social"], [archive])):
        with pytest.raises(GroundMissing):
            accounts_of(handles, files)
    with pytest.raises(GroundMissing, match=r"@wren\.bsky\.social"):
        accounts_of(["wren.bsky.social"], [], None, "own_archive")  # what is fetched is no archive
    for ground in get_args(Ground):
        assert accounts_of([], [table], None, ground)[0].record.ground == ground


@pytest.mark.parametrize("text", ["", " ", "a/b", "a\nb", ".hidden", "x" * 81, "@everyone!", "<b>", "`x`", "a|b"])
def test_what_can_be_no_model_name_is_refused(text: str) -> None:
    with pytest.raises(OutOfRange):
        checked_name(text)


def test_a_model_without_a_name_is_called_by_its_handles() -> None:
    assert model_name(["Wren", "robin"]) == "robin-wren"
    assert checked_name(" @Night Bus Nell ") == "Night Bus Nell"


# --- the same again ---------------------------------------------------------------------------------------------------


async def test_the_digest_is_of_contents_accounts_and_settings_and_of_nothing_else(tmp_path: Path) -> None:
    training = TrainingSettings()

    async def digest(files: list[Path], *handles: str, changed: TrainingSettings = training) -> str:
        return await digest_of(accounts_of(handles, files, None, "consent"), changed)

    one, moved = file(tmp_path, "a/one.jsonl"), file(tmp_path, "b/renamed.ndjson")
    first = await digest([one], "robin")
    assert first == await digest([moved], "@ROBIN")
    others = [
        await digest([file(tmp_path, "a/other.jsonl", "other posts")], "robin"),
        await digest([one], "wren"),
        await digest([one]),
        await digest([one], "robin", changed=msgspec.structs.replace(training, epochs=4)),
        await digest([file(tmp_path, "a/one.zip")], "robin"),
        await digest([one, moved], "robin", "wren"),
    ]
    assert len({first, *others}) == len(others) + 1


async def test_the_order_of_one_accounts_files_does_not_matter(tmp_path: Path) -> None:
    tweets, notes = file(tmp_path, "tweets.js", "tweets"), file(tmp_path, "note-tweet.js", "notes")
    training = TrainingSettings()
    assert await digest_of(accounts_of([], [tweets, notes]), training) == await digest_of(
        accounts_of([], [notes, tweets]), training
    )


async def test_what_is_here_already_is_not_trained_again(service: Service, orders: Orders, tmp_path: Path) -> None:
    posts = posts_of(tmp_path)
    job = await train(service, MEMBER, posts, handles=["robin"])
    assert (await end_of(service, job.id)).state == JobState.DONE
    for request in (
        {"handles": ["@Robin"]},
        {"handles": ["robin"], "name": "ROBIN"},
        {"handles": ["robin"], "ground": "consent"},
    ):
        with pytest.raises(AlreadyHere) as caught:
            await plan(service, MEMBER, posts, **request)  # type: ignore[arg-type]
        assert (caught.value.name, caught.value.version) == ("robin", 1)
    assert [j.id for j in await service.jobs(MEMBER)] == [job.id]
    # Other posts are another training, another name another model, and another server knows nothing of it.
    more = await plan(service, MEMBER, posts_of(tmp_path, count=121), handles=["robin"])
    assert more.follows and (more.follows.name, more.follows.version) == ("robin", 1)
    assert (await plan(service, MEMBER, posts, handles=["robin"], name="redbreast")).follows is None
    assert (await plan(service, STRANGER, posts, handles=["robin"])).follows is None


async def test_what_the_file_told_is_here_already_when_the_file_comes_again(service: Service, tmp_path: Path) -> None:
    posts = posts_of(tmp_path)
    job = await train(service, MEMBER, posts)
    assert (await end_of(service, job.id)).model == "robin"
    with pytest.raises(AlreadyHere):
        await plan(service, MEMBER, posts)


async def test_a_deleted_model_is_no_reason_not_to_train(service: Service, tmp_path: Path) -> None:
    posts = posts_of(tmp_path)
    digest = (await plan(service, MEMBER, posts, handles=["robin"])).digest
    await entered_in(service, digest=digest)
    with pytest.raises(AlreadyHere):
        await plan(service, MEMBER, posts, handles=["robin"])
    await service.library.delete(Caller(server_id=42, user_id=1, may_manage=True), "robin")
    assert (await plan(service, MEMBER, posts, handles=["robin"])).follows is None


# --- cost, place and refusals -----------------------------------------------------------------------------------------


def test_the_cost_is_that_of_the_posts_and_the_profile_of_each_account_on_x(tmp_path: Path) -> None:
    accounts = accounts_of(["robin", "wren", "a.example"], [file(tmp_path, "a.jsonl")], None, "consent")
    x_api = XApiSettings(accept_terms=True, post_usd=0.005, user_usd=0.01)
    assert cost_usd(accounts, SourceSettings(max_posts=1000), x_api) == pytest.approx(5.01)  # only @wren is on X
    assert cost_usd(accounts[1:2], SourceSettings(max_posts=100_000), x_api) == pytest.approx(0.01 + X_REACH / 200)
    assert cost_usd(accounts[:1] + accounts[2:], SourceSettings(), x_api) == 0
    assert cost_usd(accounts, SourceSettings(), XApiSettings(post_usd=0, user_usd=0)) == 0


async def test_a_handle_on_x_needs_the_operators_yes_and_a_token(
    quick: Config, orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = msgspec.structs.replace(quick, x_api=XApiSettings(accept_terms=True))
    for config, token, is_on in ((quick, "t", False), (agreed, "", False), (agreed, " ", False), (agreed, "t", True)):
        monkeypatch.setenv("X_BEARER_TOKEN", token)
        async with serving(config, orders) as service:
            if is_on:
                assert (await plan(service, MEMBER, handles=["@nasa"])).usd > 0
                continue
            with pytest.raises(SourceOff, match="@nasa"):
                await plan(service, MEMBER, handles=["nasa.bsky.social", "@nasa"])
            assert (await plan(service, MEMBER, handles=["nasa.bsky.social"])).usd == 0


async def test_a_plan_tells_its_cost_its_accounts_and_how_many_are_before_it(
    priced: Config, orders: Orders, tmp_path: Path
) -> None:
    orders.give("collect-waits")
    posts = posts_of(tmp_path)
    async with serving(priced, orders) as service:
        paid = await plan(service, MEMBER, posts, handles=["@Robin", "@wren"])
        assert (paid.name, paid.handles, paid.ahead) == ("robin-wren", ("Robin", "wren"), 0)
        assert (paid.usd, paid.max_posts) == (pytest.approx(0.51), 200)
        assert [account.size_bytes for account in paid.accounts] == [posts.stat().st_size, 0]
        assert await service.jobs(CONSOLE) == []  # nothing has happened yet
        for caller in (MEMBER, STRANGER):
            for name in ("a", "b"):
                await train(service, caller, posts, name=name)
        # One runs and three wait: a newcomer's server takes its turn, and who has asked before comes last.
        assert (await plan(service, Caller(server_id=44, user_id=1, may_train=True), posts)).ahead == 2
        assert (await plan(service, MEMBER, posts)).ahead == 4


@pytest.mark.parametrize("stage", ["look", "collect", "fit"])
def test_a_secret_goes_only_where_x_is_asked(stage: str) -> None:
    def needed(*sources: str) -> tuple[str, ...]:
        accounts = tuple(AccountSource(source=source, handle="robin") for source in sources)
        return secrets_for(stage, RunSpec(job_id=1, model="", accounts=accounts, training=TrainingSettings()))

    assert needed("x_api") == needed("table", "x_api") == (() if stage == "fit" else ("X_BEARER_TOKEN",))
    assert needed("bluesky", "mastodon", "table", "archive") == ()


async def test_a_plan_that_cannot_be_is_refused_before_anything_happens(service: Service, tmp_path: Path) -> None:
    posts = posts_of(tmp_path)
    await entered_in(service, "robin", handles=["robin"])
    with pytest.raises(NameTaken):
        await plan(service, MEMBER, posts, handles=["wren"], name="Robin")
    job = await service.registry.add_job(MEMBER, model="wren", handles=[], confirmed=False, place_files=lambda _: None)
    with pytest.raises(AlreadyTraining):
        await plan(service, MEMBER, posts, handles=["WREN"])
    with pytest.raises(NotAllowed):
        await plan(service, Caller(server_id=42, user_id=7), posts, handles=["finch"])
    assert [j.id for j in await service.jobs(MEMBER)] == [job.id, 1]


async def test_the_plan_is_what_the_trainer_is_told(service: Service, orders: Orders, tmp_path: Path) -> None:
    posts = [posts_of(tmp_path, "robin"), posts_of(tmp_path, "wren")]
    job = await train(service, MEMBER, *posts, handles=["robin", "wren"], name="a pair")
    assert (await end_of(service, job.id)).state == JobState.DONE
    model = service.library.find(MEMBER, "a pair")
    assert (model.handles, model.digest) == (("robin", "wren"), job.digest)
    spec = json.loads((service.data.runs / str(job.id) / "spec.json").read_text())
    assert [(a["handle"], a["inputs"]) for a in spec["accounts"]] == [
        ("robin", ["0/robin-120.jsonl"]),
        ("wren", ["1/wren-120.jsonl"]),
    ]
    await service.say(MEMBER, model=model)
    assert asked(orders)[-1].model == str(service.data.models / model.folder)


async def test_two_parts_of_an_archive_may_have_one_name_and_stay_as_they_were(
    service: Service, orders: Orders, tmp_path: Path
) -> None:
    parts = [file(tmp_path, "a/twitter.zip", "first"), file(tmp_path, "b/twitter.zip", "second")]
    orders.give("collect-waits")
    job = await train(service, MEMBER, *parts, handles=["robin"])
    folder = service.data.runs / str(job.id)
    names = json.loads((folder / "spec.json").read_text())["accounts"][0]["inputs"]
    assert [(folder / "inputs" / name).read_text() for name in names] == ["first", "second"]
    assert [part.read_text() for part in parts] == ["first", "second"]
