"""Sends a line over the limit, and more after it."""

from models.child import Channel
from models.messages import MAX_LINE_BYTES, Done, Notice

channel = Channel("stage")
channel.send(Notice(text="x" * 3 * MAX_LINE_BYTES))
channel.send(Done())
