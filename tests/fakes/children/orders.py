"""What a test tells a stand-in child to do: one file an order, in a folder that both know.

`…-waits` holds as long as it stands; every other order is carried out once, and its text says how.
"""

import json
import os
from pathlib import Path

POLL_S = 0.005


class Orders:
    """The folder. The test gives and revokes, the child carries out."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder

    def give(self, order: str, text: str = "") -> None:
        part = self.folder / f".{order}"
        part.write_text(text)
        part.rename(self.folder / order)

    def revoke(self, order: str) -> None:
        (self.folder / order).unlink(missing_ok=True)

    def stands(self, order: str) -> bool:
        return (self.folder / order).exists()

    def note_environment(self, role: str) -> None:
        """The child's own word on what it was given; `environments` reads it."""
        with (self.folder / "environments.jsonl").open("a") as file:
            file.write(json.dumps([role, dict(os.environ)]) + "\n")

    def environments(self) -> list[tuple[str, dict[str, str]]]:
        """(what it did, its environment) of each child so far."""
        lines = (self.folder / "environments.jsonl").read_text().splitlines()
        return [(role, given) for role, given in map(json.loads, lines)]

    def take(self, order: str) -> str | None:
        """The order's text, if it was given; it is gone then."""
        path = self.folder / order
        if not path.exists():
            return None
        text = path.read_text()
        path.unlink()
        return text
