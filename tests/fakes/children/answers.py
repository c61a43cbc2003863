"""Says back what it is told."""

from models.child import Channel
from models.messages import Generate, Notice

channel = Channel("stage")
while True:
    request = channel.receive(wait=True)
    if isinstance(request, Generate):
        channel.send(Notice(text=request.prompt))
