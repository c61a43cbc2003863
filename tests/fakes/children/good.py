"""Does its part: hello, a few messages, done."""

from models.child import Channel
from models.messages import Done, Notice, Progress

channel = Channel("stage")
print("this goes to stderr")
channel.send(Progress(phase="train", done=1, total=2))
channel.send(Notice(text="half way – ½"))
channel.send(Progress(phase="train", done=2, total=2))
channel.send(Done())
