"""Says hello, and nothing more."""

import sys
import time

from models.child import Channel

Channel("stage")
print("waiting for a lock", file=sys.stderr)
time.sleep(600)
