"""A whole X archive, collected as a job does it: `python -m benchmarks.archive [POSTS [MEDIA_MB]]`.

Makes ZIPs of made-up posts (3 KB of JSON each, as X writes them; long posts; pictures of noise) in a temporary folder,
with a tenth of the posts and with all (100,000 posts, 700 MB of pictures), and has `python -m trainer collect` read
them. Prints seconds and peak memory of that process until the posts are collected, and until they are cleaned.
Goal: memory for collecting does not grow with the posts' texts, but for their ids (about 100 bytes a post).
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from models.files import RunFolder, write_json
from models.messages import Done, Progress, decode
from models.records import AccountSource, RunSpec, TrainingSettings
from tests.fakes import archives

NOTE_EVERY = 50  # posts
PICTURE_BYTES = 1 << 20
FILLER = {"edit_info": {"initial": {"editTweetIds": ["1"], "isEditEligible": True}}, "source": "x" * 2500}


def main(posts: int, media_mb: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for count, megabytes in ((posts // 10, media_mb // 10), (posts, media_mb)):
            measure(make(Path(folder) / f"{count}.zip", count, megabytes), count, RunFolder(Path(folder) / str(count)))


def make(path: Path, posts: int, media_mb: int) -> Path:
    """The ZIP; written piece by piece, so that this process stays smaller than the one that it measures."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvwy", k=rng.randint(2, 9))) for _ in range(20_000)]
    notes = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("data/tweets.js", "w", force_zip64=True) as member:
            for number in range(posts):
                text = " ".join(rng.choices(words, k=24))
                if number % NOTE_EVERY == 0:
                    notes.append(archives.note(number, text + " " + " ".join(rng.choices(words, k=200))))
                    text += "…"
                item = json.dumps({"tweet": archives.tweet(number, text, **FILLER)}, indent=2)
                member.write((", " if number else "window.YTD.tweets.part0 = [").encode() + item.encode())
            member.write(b"]")
        archive.writestr("data/note-tweet.js", archives.script("note_tweet", notes))
        archive.writestr("data/account.js", archives.account("wren", "Jenny Wren"))
        for number in range(media_mb):
            name = zipfile.ZipInfo(f"data/tweets_media/{number}.jpg")
            archive.writestr(name, os.urandom(PICTURE_BYTES), zipfile.ZIP_STORED)
        size = archive.getinfo("data/tweets.js").file_size
    print(f"{posts:,} posts: {size >> 20:,} MiB of tweets.js, {path.stat().st_size >> 20:,} MiB of ZIP")
    return path


def measure(archive: Path, posts: int, run: RunFolder) -> None:
    run.inputs.mkdir(parents=True)
    os.link(archive, run.inputs / archive.name)
    account = AccountSource(source="archive", inputs=(archive.name,))
    write_json(run.spec_file, RunSpec(job_id=1, model="wren", accounts=(account,), training=TrainingSettings()))
    started = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "trainer", "collect", str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin and child.stdout and child.stderr
    last = None
    for line in child.stdout:
        last = decode(line)
        if isinstance(last, Progress) and last.phase == "collect" and last.done == last.total == posts:
            print(f"  collected after {time.monotonic() - started:.1f} s, {_peak_mb(child.pid):.0f} MiB at most")
    if not isinstance(last, Done):
        raise SystemExit(f"it failed: {last}\n{child.stderr.read().decode(errors='replace')}")
    child.stdin.close()
    child.wait()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"  cleaned after {time.monotonic() - started:.1f} s, {peak:.0f} MiB at most")


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, int(sys.argv[2]) if len(sys.argv) > 2 else 700)
