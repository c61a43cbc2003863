"""Begins with something else than hello."""

import os
import time

from models.messages import Done, encode

os.write(1, encode(Done()))
time.sleep(600)
