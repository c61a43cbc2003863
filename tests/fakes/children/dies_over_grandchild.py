"""Is killed while a process of its own holds its stderr open."""

import os
import signal
import subprocess
import sys

from models.child import Channel
from models.messages import Notice

channel = Channel("stage")
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
channel.send(Notice(text=str(grandchild.pid)))
os.kill(os.getpid(), signal.SIGKILL)
