"""Speaks the next version of the protocol."""

import os
import time

from models.messages import PROTOCOL, Hello, encode

os.write(1, encode(Hello(role="stage", pid=os.getpid(), protocol=PROTOCOL + 1)))
time.sleep(600)
