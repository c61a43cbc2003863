"""Is killed after its hello, as by the kernel when memory is short."""

import os
import signal

from models.child import Channel

Channel("stage")
os.kill(os.getpid(), signal.SIGKILL)
