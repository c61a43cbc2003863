"""Is killed in the middle of a message."""

import os
import signal

from models.messages import Hello, encode

os.write(1, encode(Hello(role="stage", pid=os.getpid())))
os.write(1, b'{"type":"progress","phase":"tr')
os.kill(os.getpid(), signal.SIGKILL)
