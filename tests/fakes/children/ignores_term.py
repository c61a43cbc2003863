"""Does not stop when it is told to."""

import signal
import time

from models.child import Channel
from models.messages import Notice

signal.signal(signal.SIGTERM, signal.SIG_IGN)
channel = Channel("stage")
channel.send(Notice(text="deaf"))
while True:
    time.sleep(600)
