"""After a restart: every button, menu and form works or says why not, and what was under way goes on."""

from __future__ import annotations

import simcord

from bot.discord_front.client import COMPONENTS
from bot.records import JobState
from tests.fakes.simcord_house import House, labels, private, text


async def test_buttons_under_posts_work_after_a_restart(house: House) -> None:
    await house.shelve()
    said = await house.member.slash(house.channel, "say", prompt="the *kettle*", count=2)
    await house.member.send(house.channel, f"{house.bot.user.mention} hello")
    reply = house.said()[-1]
    info = await house.member.slash(house.channel, "models info")
    await house.restart()
    again = await house.member.click(said.response, label="Again")
    assert (house.asked()[-1].prompt, house.asked()[-1].count) == ("the *kettle*", 2)
    await house.member.click(reply, label="Again")
    assert house.asked()[-1].answers == ("hello",)
    assert "AI imitation" in text(await house.member.click(info.response, label="A post"))
    assert "Only who asked" in private(await house.manager.click(reply, label="Delete"))
    await house.member.click(again.response, label="Delete")
    assert again.response is None


async def test_menus_pages_and_panels_work_after_a_restart(house: House) -> None:
    for number in range(30):
        await house.shelve(f"voice {number:02d}", handles=(f"h{number}",))
    for number in range(11):
        await house.failed_job(f"job {number}")
    message = await house.manager.send(house.channel, "what *then*?")
    menu = await house.member.context_menu(house.channel, "Answer as…", message)
    models = await house.member.slash(house.channel, "models list")
    jobs = await house.member.slash(house.channel, "jobs list")
    panel = await house.manager.slash(house.channel, "settings")
    data = await house.manager.slash(house.channel, "mydata")
    await house.restart()
    await house.member.click(menu.response, custom_id="voices:1")
    option = menu.response.message.components[0].children[0].options[0]
    await house.member.select(menu.response, [option.value], custom_id="answer")
    assert house.asked()[-1].answers == ("what *then*?",)
    await house.member.click(models.response, custom_id="models:1")
    assert "voice 19" in text(models)
    await house.member.click(jobs.response, custom_id="jobs:1")
    assert "#31" in text(jobs)
    await house.manager.click(panel.response, label="Links")
    await house.manager.select(panel.response, [house.channel], custom_id="settings:channels")
    settings = house.service.settings.of(house.guild.id)
    assert (settings.links, settings.channels) == (True, (house.channel.id,))
    assert "Done" in private(await house.manager.click(data.response, label="Delete it"))


async def test_forms_that_were_open_work_after_a_restart(house: House) -> None:
    await house.shelve("robin")
    panel = await house.manager.slash(house.channel, "settings")
    limits = await house.manager.click(panel.response, label="Limits…")
    delete = await house.manager.slash(house.channel, "models delete", model="robin")
    await house.restart()
    await house.manager.submit_modal(limits, {"server": "2", "member": "1", "asks": "3"})
    assert house.service.settings.of(house.guild.id).trainings_per_server_day == 2
    deleted = await house.manager.submit_modal(delete, {"name": "robin"})
    assert "is deleted" in private(deleted)
    await house.restart()
    assert "is back" in private(await house.manager.click(deleted.response, label="Restore"))


async def test_buttons_of_trainings_work_after_a_restart(house: House) -> None:
    house.orders.give("fit-waits")
    await house.train(handles="@robin")
    await house.restart()
    progress = await house.until(lambda: house.message("loss"), each_s=30)
    assert "being cancelled" in private(await house.manager.click(progress, label="Cancel"))
    assert (await house.ended(1)).state == JobState.CANCELLED
    house.orders.revoke("fit-waits")
    await house.pass_time()
    news = house.message("is cancelled")
    await house.restart()
    assert "Job #2" in private(await house.manager.click(news, label="Try again"))
    assert (await house.ended(2)).state == JobState.DONE
    await house.pass_time()
    ready = house.message("is ready")
    await house.restart()
    assert "AI imitation" in text(await house.member.click(ready, label="A post"))


async def test_a_job_goes_on_under_the_same_message_and_is_announced_once(house: House) -> None:
    house.orders.give("fit-waits")
    await house.train(handles="@robin")
    progress = await house.until(lambda: house.message("loss"), each_s=30)
    await house.restart()
    await house.restart()
    house.orders.revoke("fit-waits")
    assert (await house.ended(1)).state == JobState.DONE
    await house.pass_time()
    await house.restart()
    await house.pass_time()
    assert len(house.said()) == 2
    assert house.message("Training robin").id == progress.id
    assert "done" in house.message("Training robin").content
    assert labels(house.message("Training robin")) == []
    assert [user.id for user in house.message("is ready").mentions] == [house.manager.id]


async def test_what_ended_while_discord_was_away_is_announced_later_with_a_word(house: House) -> None:
    await house.train(handles="@robin")
    await house.ended(1)
    house.env.inject_error("POST", "/channels/*/messages", status=503, times=4)
    await house.pass_time(40)
    assert not house.message("is ready")
    await house.pass_time(600)
    assert len([m for m in house.said() if "is ready" in m.content]) == 1


async def test_old_buttons_that_nobody_knows_say_so(house: House) -> None:
    await house.shelve()
    shown = await house.member.slash(house.channel, "help")
    for custom_id in ("again", "again:1", "again:1:9:usual:usual", "say:x", "delete:", "settings:unknown", "x" * 100):
        stored = house.env.backend.get_message(house.channel.id, shown.response.id)
        button = {"type": 2, "style": 2, "label": "old", "custom_id": custom_id, "id": 2}
        stored.components = [{"type": 1, "id": 1, "components": [button]}]
        assert "earlier version" in private(await house.member.click(shown.response, custom_id=custom_id)), custom_id


async def test_buttons_about_what_is_gone_say_so(house: House) -> None:
    await house.shelve()
    shown = await house.member.slash(house.channel, "help")
    house.let_in("jobs", house.member)
    for custom_id in (
        "again:99:1:usual:usual",
        "reply:99",
        "say:99",
        "cancel:99",
        "retry:99",
        "confirm:99",
        "restore:99",
        "versions:99:0",
    ):
        stored = house.env.backend.get_message(house.channel.id, shown.response.id)
        button = {"type": 2, "style": 2, "label": "gone", "custom_id": custom_id, "id": 2}
        stored.components = [{"type": 1, "id": 1, "components": [button]}]
        told = await house.member.click(shown.response, custom_id=custom_id)
        assert private(told), custom_id
    assert house.asked() == []


async def test_every_kind_of_component_is_known_by_its_id_alone() -> None:
    templates = [kind.__discord_ui_compiled_template__.pattern for kind in COMPONENTS]
    assert len(set(templates)) == len(templates)
    examples = (
        "again:1:5:usual:long",
        "reply:1",
        "say:1",
        "delete:1",
        "answer",
        "voices:1",
        "cancel:1",
        "confirm:1",
        "retry:1",
        "jobs:0",
        "models:-1",
        "restore:1",
        "settings:channels",
        "settings:persona",
        "settings:limits",
        "mydata:delete",
        "versions:1:0",
    )
    for custom_id in examples:
        known = [k for k in COMPONENTS if k.__discord_ui_compiled_template__.fullmatch(custom_id)]
        assert len(known) == 1, custom_id
    assert len(examples) == len(COMPONENTS)


async def test_a_second_press_of_the_same_old_button_is_answered_once_each(house: House) -> None:
    await house.shelve()
    said = await house.member.slash(house.channel, "say")
    await house.restart()
    first: simcord.InteractionResult = await house.member.click(said.response, label="Again")
    assert len(house.said()) == 2
    assert first.followups == []
    assert len(house.asked()) == 2
