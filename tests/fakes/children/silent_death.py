"""Ends without a last word."""

import sys

from models.child import Channel

Channel("stage")
print("no luck today", file=sys.stderr)
sys.exit(7)
