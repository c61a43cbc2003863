"""An engine that is ready and never answers."""

from models.child import Channel
from models.messages import Ready

channel = Channel("engine")
channel.send(Ready(base="fake", device="cpu", precision="fp32", parameters=1, seconds=0.0))
while True:
    channel.receive(wait=True)
