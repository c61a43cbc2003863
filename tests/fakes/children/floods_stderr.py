"""Writes far more to stderr than a pipe holds, in lines short and long."""

import sys

from models.child import Channel
from models.messages import Done

channel = Channel("stage")
for number in range(20_000):
    print(f"warning {number}: the quick brown fox is deprecated", file=sys.stderr)
sys.stderr.write("y" * 5_000_000 + "\n")
print("\xff the last line", file=sys.stderr)
sys.stderr.flush()
channel.send(Done())
