"""The picture of a run: how the held-out bits per byte and the training loss went, as a PNG for a Discord embed."""

# ruff: noqa: E402 - matplotlib speaks while it is imported

from __future__ import annotations

import io
import logging
import math
import unicodedata
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import regex

# Where the home folder can't be written, it takes a temporary one and says so; no reader of the log can do anything.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

from matplotlib import rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontPath, FontProperties, fontManager, get_font
from matplotlib.ft2font import FT2Font
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from models.records import Metrics

WIDTH, HEIGHT = 1200, 675  # pixels; Discord shows it some 400 wide, so no text is under 24 pixels
_DPI = 100
_LEFT, _RIGHT = 0.092, 0.966  # of the width: the panels' edges
_BACKGROUND, _PANEL, _GRID = "#313338", "#2b2d31", "#45484f"  # Discord's dark theme
_BRIGHT, _MUTED, _LINE, _BEST, _LOSS = "#f2f3f5", "#b5bac1", "#a5b0ff", "#57f287", "#949ba4"
_SMALL, _LABEL, _TITLE, _TITLE_LEAST = 18, 21, 34, 24  # points
_FONT = "DejaVu Sans"  # comes with matplotlib
# Fonts without outlines, with boxes in place of letters, with code points of their own.
_UNFIT_FONTS = regex.compile(r"(?i)color|last ?resort|blank|^cm\w+10$|^stix")
_MAX_NAME = 200  # characters looked at
_FEW_POINTS = 40  # up to here every point is marked
_STYLE: dict[Any, Any] = {
    # Not what a matplotlibrc of this account says. To ask for the backend would load pyplot.
    **{key: rcParamsDefault[key] for key in rcParamsDefault if key != "backend"},
    "text.parse_math": False,  # a name may hold dollar signs
    "text.color": _BRIGHT,
    "font.family": [_FONT],
    "font.size": _SMALL,
    "axes.facecolor": _PANEL,
    "axes.edgecolor": _PANEL,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _GRID,
    "grid.linewidth": 1.0,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.major.pad": 8.0,
    "ytick.major.pad": 8.0,
}

Curve = Sequence[tuple[int, float]]  # (step, value), in the order of the steps


def draw_training(metrics: Metrics, name: str, *, fallback: str = "") -> bytes:
    """The picture as a PNG of WIDTH x HEIGHT pixels; `fallback` is the title where no font here has the name."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH / _DPI, HEIGHT / _DPI), dpi=_DPI, facecolor=_BACKGROUND)
        canvas = FigureCanvasAgg(figure)
        title, families = drawable(name)
        if not title:
            title, families = drawable(fallback)
        text = figure.text(0.03, 0.905, title, weight="bold", family=families, va="center")
        _fit(text, size=_TITLE, least=_TITLE_LEAST)
        facts = " · ".join(
            part
            for part in (
                f"{metrics.posts:,} post" + "s" * (metrics.posts != 1),
                f"{metrics.steps:,} step" + "s" * (metrics.steps != 1),
                _duration(metrics.seconds),
                "".join(c for c in metrics.hardware if c.isascii() and c.isprintable()),
            )
            if part
        )
        _fit(figure.text(0.03, 0.815, facts, color=_MUTED, va="center"), size=_SMALL, least=_SMALL)
        steps = max(1, metrics.steps, *(step for step, _ in (*metrics.held_out_curve, *metrics.loss_curve)))
        upper = figure.add_axes((_LEFT, 0.338, _RIGHT - _LEFT, 0.422))
        lower = figure.add_axes((_LEFT, 0.098, _RIGHT - _LEFT, 0.208))
        for axes in (upper, lower):
            axes.set_xlim(-0.02 * steps, 1.02 * steps)
            axes.set_xticks([tick for tick in MaxNLocator(6, integer=True).tick_values(0, steps) if 0 <= tick <= steps])
        _draw_held_out(upper, metrics)
        _draw_loss(lower, metrics.loss_curve)
        upper.tick_params(labelbottom=False)
        lower.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        figure.text(0.03, 0.0655, "step", color=_MUTED, va="center")
        png = io.BytesIO()
        canvas.print_png(png, metadata={"Software": None})
        return png.getvalue()


def _draw_held_out(axes: Axes, metrics: Metrics) -> None:
    """Bits per byte by step, the value before training as a dashed line, and the best step with its value."""
    curve, before, best = metrics.held_out_curve, metrics.bits_per_byte_before, metrics.bits_per_byte_after
    # Nothing of the curve lies under its least value: the best one's label has its place there, the heading above.
    _scale(axes, [*(value for _, value in curve), before, best], under=0.36, over=0.42, ticks=4)
    _heading(axes, "held-out bits per byte", _LINE)
    if math.isfinite(before):
        axes.axhline(before, color=_MUTED, linewidth=1.5, linestyle=(0, (5, 4)))
    few = len(curve) <= _FEW_POINTS
    axes.plot(*_columns(curve), color=_LINE, linewidth=3.5, marker="o", markersize=8 if few else 4)
    if not math.isfinite(best):
        _note(axes, "the held-out loss is not a number")
        return
    axes.plot([metrics.best_step], [best], color=_BEST, marker="o", markersize=15, markeredgecolor=_PANEL, mew=3)
    if metrics.best_step == 0:
        _label(axes, 0, best, f"best: {_value(best)}, before training", _BEST, above=False)
        return
    _label(axes, metrics.best_step, best, f"best: {_value(best)} at step {metrics.best_step:,}", _BEST, above=False)
    if math.isfinite(before):
        _label(axes, metrics.steps, before, f"before: {_value(before)}", _BRIGHT, above=True)


def _draw_loss(axes: Axes, curve: Curve) -> None:
    """Nats per token by step, quieter than what the step is chosen by."""
    bad = sum(not math.isfinite(value) for _, value in curve)
    _scale(axes, [value for _, value in curve], under=0.15, over=0.75, ticks=2)
    _heading(axes, "training loss, nats per token" + (f" ({bad} of {len(curve)} not a number)" if bad else ""), _LOSS)
    if bad == len(curve):
        _note(axes, "no value")
    few = len(curve) <= _FEW_POINTS
    axes.plot(*_columns(curve), color=_LOSS, linewidth=2.0, marker="o", markersize=6 if few else 0)


def _columns(curve: Curve) -> tuple[list[int], list[float]]:
    """Steps and values; what is not finite becomes a gap."""
    return [step for step, _ in curve], [value if math.isfinite(value) else math.nan for _, value in curve]


def _scale(axes: Axes, values: Sequence[float], *, under: float, over: float, ticks: int) -> None:
    """Limits around the finite values, with fractions of their range free under and over them, and some `ticks`."""
    axes.grid(visible=False, axis="x")
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        axes.set_yticks([])
        return
    low, high = min(finite), max(finite)
    if high - low < (least := max(0.01, 0.01 * abs(high))):  # noise is not to look like a slope
        low, high = low - least / 2, high + least / 2
    axes.set_ylim(low - under * (high - low), high + over * (high - low))
    locator = MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10])
    marks = [float(mark) for mark in locator.tick_values(low, high) if low <= mark <= high]
    # As few decimals as tell them apart.
    decimals = next((n for n in range(8) if all(math.isclose(mark, round(mark, n)) for mark in marks)), 8)
    if max(-low, high) < 10_000:
        names = [f"{mark:,.{decimals}f}" for mark in marks]
    else:
        names = [_huge(mark) for mark in marks]
    axes.set_yticks(marks, names)


def _huge(value: float) -> str:
    """A value of a loss that exploded, such as "2.5e9"."""
    return regex.sub(r"e\+0?", "e", f"{value:.2g}")


def _value(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10_000 else _huge(value)


def _heading(axes: Axes, text: str, color: str) -> None:
    axes.annotate(
        text, (0, 1), xycoords="axes fraction", xytext=(12, -10), textcoords="offset points", color=color, va="top"
    )


def _note(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.3, text, transform=axes.transAxes, color=_BRIGHT, ha="center", va="center")


def _label(axes: Axes, step: int, value: float, text: str, color: str, *, above: bool) -> None:
    """A value's label, centred over or under its point as far as the edges of the panel let it."""
    label = axes.annotate(
        text,
        (step, value),
        xytext=(0, 8 if above else -15),
        textcoords="offset points",
        size=_LABEL,
        weight="bold",
        color=color,
        ha="center",
        va="bottom" if above else "top",
        path_effects=[withStroke(linewidth=5, foreground=_PANEL)],
    )
    box, panel = label.get_window_extent(), axes.get_window_extent()
    shift = max(0.0, panel.x0 + 14 - box.x0) + min(0.0, panel.x1 - 14 - box.x1)
    label.xyann = (shift * 72 / _DPI, label.xyann[1])


def drawable(name: str) -> tuple[str, list[str]]:
    """The name on one line, and the font families to draw it with, the main one first.

    Emoji and signs that no font here has are left out. If a letter or digit of it is one of those, the line is empty.
    """
    line = " ".join(unicodedata.normalize("NFC", name[:_MAX_NAME]).split())
    line = regex.sub(r"(\p{M}{3})\p{M}+", r"\1", line)  # a tower of accents would cover the picture
    # Controls, marks of direction and lone surrogates go; the joiners stay where a script may need them.
    line = regex.sub(r"(?<![\p{L}\p{M}])[\u200c\u200d]|(?![\u200c\u200d])\p{C}|\p{Variation_Selector}", "", line)
    files = {_FONT: _file(_FONT)}
    missing = set(line) - _found(set(line), files[_FONT])
    for family, face in _other_faces() if missing else ():
        try:
            if _found(missing, face) and (found := _found(missing, file := _file(family))):
                files[family] = file
                missing -= found
        except (OSError, RuntimeError, ValueError):  # gone since the list was made, or broken
            continue
        if not missing:
            break
    kept = " ".join("".join(character for character in line if character not in missing).split())
    whole = not any(unicodedata.category(character)[0] in "LN" for character in missing)
    return (kept if whole and _is_quiet(kept, list(files.values())) else ""), list(files)


def _file(family: str) -> FontPath:
    """The very file that matplotlib takes for a bold text of this family; ValueError if it has none."""
    return fontManager.findfont(FontProperties(family=[family], weight="bold"), fallback_to_default=False)


def _found(characters: set[str], face: FontPath) -> set[str]:
    """Those of the characters that the font has."""
    font = FT2Font(face, face_index=face.face_index)
    return {character for character in characters if font.get_char_index(ord(character))}


def _is_quiet(line: str, files: list[FontPath]) -> bool:
    """Whether matplotlib draws the line with these fonts and finds nothing amiss.

    It may miss a glyph that one of them has, where a letter of one script bears the marks of another.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            get_font(files).set_text(line)
        except (RuntimeError, UserWarning):
            return False
    return True


def _other_faces() -> list[tuple[str, FontPath]]:
    """One face of every other family worth a look, with the family's name; the plainest first."""
    faces = {
        font.name: FontPath(font.fname, font.index)
        for font in fontManager.ttflist
        if font.name != _FONT and not _UNFIT_FONTS.search(font.name)
    }
    return sorted(faces.items(), key=lambda item: ("Sans" not in item[0], "Mono" in item[0], item[0]))


def _fit(text: Text, *, size: float, least: float) -> None:
    """Draw the text in at most `size` and at least `least` points, cut where it would leave the right margin."""
    room = _RIGHT * WIDTH - text.get_window_extent().x0

    def width(shown: str) -> float:
        text.set_text(shown)
        return text.get_window_extent().width

    whole = text.get_text()
    text.set_fontsize(size)
    text.set_fontsize(max(least, min(size, size * room / max(1.0, width(whole)))))
    if width(whole) > room:
        clusters = regex.findall(r"\X", whole)
        cuts = ["".join(clusters[:count]).rstrip() + "…" for count in range(len(clusters))]
        text.set_text(cuts[max(0, bisect_right(cuts, room, key=width) - 1)])


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
