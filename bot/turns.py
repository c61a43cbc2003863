"""Whose turn it is: servers take turns, so that one with many jobs does not keep the others waiting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.records import Job, JobState


def in_turn(jobs: Sequence[Job], last_turns: Mapping[int, str]) -> list[Job]:
    """The jobs in the order in which they are to run: begun ones, then round-robin over the servers.

    `last_turns` tells when each server's latest job left the queue. The server that has waited longest is next, with
    its oldest job; one that never had a turn is before all others.
    """
    begun = [job for job in jobs if job.state != JobState.QUEUED]
    waiting: dict[int, list[Job]] = {}
    for job in sorted(jobs, key=lambda job: job.id):
        if job.state == JobState.QUEUED and job.confirmed:
            waiting.setdefault(job.server_id, []).append(job)
    servers = sorted(waiting, key=lambda server: (last_turns.get(server, ""), waiting[server][0].id))
    order: list[Job] = []
    while servers:
        order += [waiting[server].pop(0) for server in servers]
        servers = [server for server in servers if waiting[server]]
    return begun + order
