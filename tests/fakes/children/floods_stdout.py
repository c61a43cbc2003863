"""Says a great deal at once."""

from models.child import Channel
from models.messages import Done, Sample

channel = Channel("stage")
for step in range(5_000):
    channel.send(Sample(step=step, text="z" * 1_000))
channel.send(Done())
