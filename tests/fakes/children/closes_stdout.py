"""Closes its end of the messages, and lives on."""

import os
import time

from models.messages import Hello, encode

os.write(1, encode(Hello(role="stage", pid=os.getpid())))
os.close(1)
time.sleep(600)
