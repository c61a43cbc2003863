"""Takes itself for another."""

import time

from models.child import Channel

Channel("engine")
time.sleep(600)
