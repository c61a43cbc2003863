"""Runs models for people: config, job queue, child processes, service, Discord and console front ends."""
