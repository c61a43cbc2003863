"""Ends before it has said anything."""

raise RuntimeError("broken from the start")
