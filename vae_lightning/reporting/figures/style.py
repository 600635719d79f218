"""The look that all figures share, and how one becomes a PNG file.

Figures are made without pyplot, which keeps a list of them for the whole process; matplotlib is imported when the first
is drawn.
"""

import io
import textwrap
import warnings
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

WIDTH, LETTERS = 9.0, 12
"""Inches of a figure, and letters of a title in one of them."""
BLUE, ORANGE, DARK, GREY = "#0072B2", "#D55E00", "#333333", "#AAAAAA"
"""Okabe and Ito's colours, which colour-blind people tell apart, and two greys."""
STYLE: Any = {
    "figure.dpi": 100,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.titlesize": 10.5,
    "figure.titleweight": "bold",
    "text.parse_math": False,  # a column may be called "price in $, tax in $"
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.edgecolor": DARK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.color": DARK,
    "ytick.color": DARK,
    "grid.color": "#E6E6E6",
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.borderaxespad": 0.2,
}


def use_style() -> AbstractContextManager[None]:
    """A context in which matplotlib draws in this style; its own settings come back afterwards."""
    from matplotlib import rc_context

    return rc_context(STYLE)


def create_figure(width: float, height: float, title: str) -> "Figure":
    """An empty figure, inches, with its message on top; the layout makes room for whatever labels there are."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    add_title(figure, title, width)
    return figure


def add_title(figure: "FigureBase", title: str, width: float) -> None:
    """The message of a figure, or of a part of one, that is ``width`` inches wide."""
    figure.suptitle(textwrap.fill(title, int(LETTERS * width)), x=0.1 / width, horizontalalignment="left")


def add_legend(figure: "FigureBase", *panels: "Axes") -> None:
    """What the artists of the panels are, below all of them; equal ones are told once."""
    found = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in panels]
    entries = {label: handle for pairs in found for handle, label in pairs}
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=len(entries))


def encode_png(figure: "Figure") -> bytes:
    """The figure as a PNG file, without transparency."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in a script that the font lacks
        canvas.draw()  # once; savefig draws everything twice
    file = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(file, format="png", compress_level=3)
    return file.getvalue()


def shorten(name: str, most: int = 24) -> str:
    """A name of a tick's length: names of one origin differ at their beginning or, as paths do, at their end.

    >>> shorten("average number of concave points", 16)
    'average…e points'
    """
    return name if len(name) <= most else f"{name[: (most - 1) // 2]}…{name[-(most // 2) :]}"
