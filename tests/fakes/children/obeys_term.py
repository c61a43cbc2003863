"""Stops when it is told to, and says so."""

import signal
import sys
import time

from models.child import Channel
from models.messages import Cancelled, Notice

channel = Channel("stage")
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
try:
    channel.send(Notice(text="listening"))
    time.sleep(600)
except SystemExit:
    channel.send(Cancelled())
