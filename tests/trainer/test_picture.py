"""The picture of a run: its size, any name, any curve, and a machine on which nothing can be written."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import torch
from matplotlib import get_data_path
from matplotlib.text import Text
from transformers import AutoTokenizer

from models.engine.device import choose
from models.engine.loading import load_weights
from models.files import RunFolder, verify
from models.records import Metrics, RunSpec, Stats, TrainingSettings
from models.text import DEFAULT_FORMAT
from tests.conftest import ROOT
from tests.models.made import made_counts, made_manifest
from trainer import picture
from trainer.package import package
from trainer.picture import draw_training, drawable
from trainer.tune import Tuned, TuneState


def made_metrics(**changes: object) -> Metrics:
    return msgspec.structs.replace(made_manifest().metrics, **changes)


def run_of(values: list[float]) -> Metrics:
    """Metrics of a run with these held-out values, ten steps apart, and a loss of twice as much."""
    curve = tuple((10 * i, value) for i, value in enumerate(values))
    step, best = min(curve, key=lambda point: point[1])
    return made_metrics(
        held_out_curve=curve,
        loss_curve=tuple((step, 2 * value) for step, value in curve[1:]),
        bits_per_byte_before=values[0],
        bits_per_byte_after=best,
        best_step=step,
        steps=curve[-1][0],
    )


def size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels as the PNG's header tells them."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n" and png[12:16] == b"IHDR"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, float]]:
    """Every text that was drawn, with its left and right edge in pixels."""
    texts: list[tuple[str, float, float]] = []
    draw = Text.draw

    def record(self: Text, renderer: object) -> None:
        if self.get_visible() and self.get_text():
            box = self.get_window_extent()
            texts.append((self.get_text(), box.x0, box.x1))
        draw(self, renderer)

    monkeypatch.setattr(Text, "draw", record)
    return texts


def title(shown: list[tuple[str, float, float]]) -> str:
    """The text that was drawn before the facts."""
    texts = [text for text, _, _ in shown]
    return texts[next(i for i, text in enumerate(texts) if " posts · " in text) - 1]


@pytest.fixture
def bundled_fonts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    fonts = [font for font in picture.fontManager.ttflist if font.fname.startswith(get_data_path())]
    monkeypatch.setattr(picture.fontManager, "ttflist", fonts)


def test_it_is_a_png_of_1200_by_675_pixels() -> None:
    assert size(draw_training(made_metrics(), "Robin")) == (1200, 675)


def test_the_same_run_gives_the_same_bytes() -> None:
    assert draw_training(made_metrics(), "Robin") == draw_training(made_metrics(), "Robin")


def test_it_tells_the_name_the_facts_the_best_step_and_where_it_began(shown: list[tuple[str, float, float]]) -> None:
    draw_training(made_metrics(posts=48_211, seconds=12_345.0), "Robin")
    texts = [text for text, _, _ in shown]
    for text in (
        "Robin",
        "48,211 posts · 28 steps · 3 h 26 min · 2 CPU cores (x86_64)",
        "best: 1.750 at step 20",
        "before: 2.500",
        "held-out bits per byte",
        "training loss, nats per token",
    ):
        assert text in texts


NAMES = [
    "Zoë 🐦‍🔥 Ünïcøde",
    "鳥の歌",
    "عصفور",
    "नीलकंठ",
    "👩‍👩‍👧",
    "🇩🇪 1️⃣",
    "",
    " \n\t ",
    "two\nlines",
    "$x^2$ $\\frac{ $",
    "a\x00b\x1b[31m\ud800\u202ec",
    "Z" + "\u0301\u0302\u0303" * 40,
    "\u11c5\u0466\u0d4d\u0344\u0532",  # letters of one script with the marks of another
    "\U000e0041\ue000\uffff\U0010ffff",
    "W" * 5000,
    "漢" * 5000,
    "a b " * 2000,
]


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name[:9]) for name in NAMES])
def test_no_name_makes_it_warn(name: str) -> None:
    """Warnings are errors here."""
    assert size(draw_training(made_metrics(hardware=name), name, fallback="@robin")) == (1200, 675)


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name[:9]) for name in NAMES])
@pytest.mark.usefixtures("bundled_fonts_only")
def test_no_name_makes_it_warn_where_no_other_fonts_are(name: str) -> None:
    assert size(draw_training(made_metrics(), name, fallback=name)) == (1200, 675)


@pytest.mark.usefixtures("bundled_fonts_only")
def test_emoji_that_no_font_has_are_left_out() -> None:
    assert drawable("Nell 🚌🌙")[0] == "Nell"


@pytest.mark.usefixtures("bundled_fonts_only")
def test_a_name_in_letters_that_no_font_has_gives_way_to_the_fallback(shown: list[tuple[str, float, float]]) -> None:
    assert drawable("鳥 Bird")[0] == ""
    draw_training(made_metrics(), "鳥 Bird", fallback="@robin")
    assert title(shown) == "@robin"


def test_a_name_is_not_read_as_a_formula(shown: list[tuple[str, float, float]]) -> None:
    draw_training(made_metrics(), "$x^2$")
    assert title(shown) == "$x^2$"


@pytest.mark.parametrize("name", ["Nightbus Nell " * 20, "W" * 300, "e\u0301\u0323" * 150])
def test_a_long_name_is_cut_at_the_margin(name: str, shown: list[tuple[str, float, float]]) -> None:
    draw_training(made_metrics(hardware=name), name)
    assert title(shown).endswith("…") and len(title(shown)) > 10
    assert all(left >= 0 and right <= 1170 for _, left, right in shown)


CURVES = {
    "one point": [2.5],
    "two points": [2.5, 2.0],
    "a hundred": [1.7 + 0.8 / (1 + i) for i in range(100)],
    "no change": [2.5, 2.5, 2.5],
    "from bad to worse": [2.5, 3.0, 900.0],
    "not a number": [2.5, 2.0, math.nan, math.nan],
    "only not a number": [math.nan, math.nan],
    "infinite": [2.5, math.inf],
    "huge": [1e30, 3e38],
    "tiny": [1e-9, 1e-12],
    "zero": [0.0, 0.0],
}


@pytest.mark.parametrize("values", CURVES.values(), ids=CURVES)
def test_any_curve_is_drawn_with_its_texts_inside(values: list[float], shown: list[tuple[str, float, float]]) -> None:
    assert size(draw_training(run_of(values), "Robin")) == (1200, 675)
    assert all(left >= 0 and right <= 1200 for _, left, right in shown)


def test_a_run_that_never_was_evaluated_again_says_so(shown: list[tuple[str, float, float]]) -> None:
    draw_training(run_of([2.5]), "Robin")
    texts = [text for text, _, _ in shown]
    assert "best: 2.500, before training" in texts
    assert "no value" in texts


def test_a_loss_that_is_not_a_number_is_told(shown: list[tuple[str, float, float]]) -> None:
    draw_training(made_metrics(loss_curve=((10, 4.5), (20, math.nan))), "Robin")
    assert "training loss, nats per token (1 of 2 not a number)" in [text for text, _, _ in shown]


def test_the_marks_of_an_axis_are_told_apart(shown: list[tuple[str, float, float]]) -> None:
    draw_training(run_of([1.7521, 1.7519, 1.7520]), "Robin")
    marks = [text for text, _, _ in shown if text.startswith("1.7")]
    assert len(marks) >= 2 and all(one != other for one, other in pairwise(marks))


@pytest.mark.parametrize("home", [None, "/proc/nowhere"])
def test_it_is_quiet_where_there_is_no_home_to_write_in(home: str | None) -> None:
    environment = {"PATH": os.environ["PATH"], **({"HOME": home} if home else {})}
    script = (
        "import sys, trainer.picture; from tests.models.made import made_manifest;"
        "png = trainer.picture.draw_training(made_manifest().metrics, 'Robin'); print(len(png) > 1000);"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("True\nFalse\n", "")


def test_a_packaged_model_holds_the_picture_and_its_manifest_and_card_name_it(tiny_base: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    settings = TrainingSettings(base=str(tiny_base), learning_rate=0.001)
    tuned = Tuned(
        model=load_weights(str(tiny_base), choose("cpu", "fp32", threads=1), dtype=torch.float32),
        method="full",
        state=TuneState(),
        settings=settings,
    )
    manifest = package(
        folder,
        RunSpec(job_id=7, model="robin", accounts=(), training=settings),
        Stats(accounts=(made_counts(name="鳥の歌"), made_counts("wren", "Jenny 🐦"))),
        tuned,
        made_metrics(),
        AutoTokenizer.from_pretrained(tiny_base),
        DEFAULT_FORMAT,
    )
    assert size((folder.model / "training.png").read_bytes()) == (1200, 675)
    assert "training.png" in manifest.files
    assert "](training.png)" in (folder.model / "README.md").read_text()
    assert verify(folder.model).created_at <= datetime.now(UTC)
