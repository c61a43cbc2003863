"""Whose turn it is: servers take turns, each with its oldest job, and none is kept waiting for ever."""

from __future__ import annotations

import random

from bot.records import Job, JobState
from bot.turns import in_turn
from tests.bot.quick import made_job, numbers


def test_servers_take_turns_each_with_its_oldest_job() -> None:
    jobs = [made_job(number, server_id=server) for number, server in enumerate((1, 1, 1, 2, 3, 2), start=1)]
    assert numbers(in_turn(jobs, {})) == [1, 4, 5, 2, 6, 3]


def test_the_server_that_has_waited_longest_is_next() -> None:
    jobs = [made_job(number, server_id=number) for number in (1, 2, 3)]
    turns = {1: "2024-05-06T07:08:09+00:00", 2: "2024-05-06T07:08:07+00:00", 3: "2024-05-06T07:08:08+00:00"}
    assert numbers(in_turn(jobs, turns)) == [2, 3, 1]


def test_a_server_that_never_had_a_turn_is_before_all_others() -> None:
    jobs = [made_job(1, server_id=1), made_job(2, server_id=2)]
    assert numbers(in_turn(jobs, {1: "2024-05-06T07:08:09+00:00"})) == [2, 1]


def test_begun_jobs_come_first_whoever_has_the_turn() -> None:
    states = (JobState.QUEUED, JobState.FITTING, JobState.QUEUED, JobState.COLLECTING)
    jobs = [made_job(number, server_id=number, state=state) for number, state in enumerate(states, start=1)]
    turns = {2: "2024-05-06T07:08:09+00:00", 4: "2024-05-06T07:08:09+00:00"}
    assert numbers(in_turn(jobs, turns)) == [2, 4, 1, 3]


def test_jobs_that_nobody_has_agreed_to_have_no_turn() -> None:
    jobs = [made_job(1, confirmed=False), made_job(2), made_job(3, server_id=43, confirmed=False)]
    assert numbers(in_turn(jobs, {})) == [2]


def test_nothing_waits_and_nothing_is_next() -> None:
    assert in_turn([], {42: "2024-05-06T07:08:09+00:00"}) == []


def test_a_server_with_one_job_is_served_while_another_keeps_the_queue_full() -> None:
    rng = random.Random(5)
    waiting: list[Job] = [made_job(number, server_id=1) for number in range(1, 21)]
    turns: dict[int, str] = {}
    served: list[int] = []
    for hour in range(60):
        if hour % 5 == 0:  # somebody else asks now and then; the busy server asks all the time
            waiting.append(made_job(1000 + hour, server_id=rng.choice((2, 3, 4))))
        waiting.append(made_job(100 + hour, server_id=1))
        job = in_turn(waiting, turns)[0]
        waiting.remove(job)
        turns[job.server_id] = f"2024-05-06T{hour:04d}"
        served.append(job.id)
        others = [j for j in waiting if j.server_id != 1]
        assert len(others) <= 2  # at most one other turn was between
    assert sum(number < 1000 for number in served) > 40
    assert [n for n in served if n < 1000] == sorted(n for n in served if n < 1000)
