"""Is done, and leaves a process of its own behind, which holds its pipes open."""

import subprocess
import sys

from models.child import Channel
from models.messages import Done, Notice

channel = Channel("stage")
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
channel.send(Notice(text=str(grandchild.pid)))
channel.send(Done())
