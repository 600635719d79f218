"""What every figure is drawn from, and the one style they share."""

import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae_lightning.data.seeds import random_stream
from vae_lightning.inference.metrics import ACTIVE_UNIT_VARIANCE
from vae_lightning.inference.model import VAEModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_ROWS = 1000
"""Rows a figure is made of: more would change no picture, and cost time."""
DPI = 80
BLUE, ORANGE, DARK, GREY = "#0072B2", "#D55E00", "#333333", "#AAAAAA"
"""Okabe and Ito's colours, which colour-blind people tell apart, and two greys."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and the rows it is looked at with.

    Args:
        model: in evaluation mode.
        u: rows it was not trained on, (N, C), model units, on its device.
        training: rows it was trained on, likewise: what the baseline of independent columns is fitted to.
        labels: one for each row of ``u``, or None.
        image_shape: (height, width) or (height, width, 3) if a row is a flattened image.
        seed: of every draw.
        history: the values of each metric, one an epoch; empty where they are not known.
    """

    model: VAEModel
    u: Tensor
    training: Tensor
    labels: np.ndarray | None = None
    image_shape: tuple[int, ...] | None = None
    seed: int = 0
    history: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [column.name for column in self.model.columns]

    @property
    def latent_dim(self) -> int:
        """L."""
        return self.model.vae.latent_dim

    @cached_property
    def rows(self) -> np.ndarray:
        """``u`` in data units: bits, where the model sees bits."""
        rows = self._data_units(self.u)
        whole = [np.dtype(column.dtype).kind in "iub" for column in self.model.columns]
        rows[:, whole] = np.rint(rows[:, whole])  # the way through float32 leaves 2.9999998
        return rows

    @cached_property
    @torch.no_grad()
    def posterior(self) -> tuple[Tensor, Tensor]:
        """Means and log-variances of q(z|x), each (N, L)."""
        return tuple(self.model.vae.encode(self.u))  # type: ignore[return-value]

    @cached_property
    def means(self) -> np.ndarray:
        """Posterior means, (N, L)."""
        return self.posterior[0].cpu().double().numpy()

    @cached_property
    def stds(self) -> np.ndarray:
        """Posterior standard deviations, (N, L)."""
        return torch.exp(0.5 * self.posterior[1]).cpu().double().numpy()

    @cached_property
    @torch.no_grad()
    def kl(self) -> np.ndarray:
        """Mean KL of each latent dimension, nats per row, (L,)."""
        return self.model.vae.prior.kl(*self.posterior).double().mean(0).cpu().numpy()

    @cached_property
    def active(self) -> np.ndarray:
        """Which latent dimensions tell rows apart (Burda et al. 2015), (L,)."""
        return self.means.var(0) > ACTIVE_UNIT_VARIANCE

    @cached_property
    def order(self) -> np.ndarray:
        """The latent dimensions, that of the largest KL first."""
        return np.argsort(-self.kl, kind="stable")

    @cached_property
    @torch.no_grad()
    def reconstructions(self) -> np.ndarray:
        """Means of p(x|z) at the posterior means, (N, C), data units."""
        return self._data_units(self.model.vae.decode(self.posterior[0]).mean)

    @cached_property
    def drawn(self) -> np.ndarray:
        """As many new rows as there are rows: draws from p(x|z), not its means; (N, C), data units."""
        return self.model.sample(len(self.u), seed=self.seed).to_numpy(dtype=np.float64)

    @torch.no_grad()
    def decoded(self, z: np.ndarray) -> np.ndarray:
        """Means of p(x|z) at the points ``z`` (M, L), (M, C), data units."""
        return self._data_units(self.model.vae.decode(torch.from_numpy(z).to(self.u)).mean)

    @torch.no_grad()
    def from_prior(self, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Means of p(x|z), and draws from it, at the same draws of the prior; each (num_rows, C), data units."""
        vae = self.model.vae
        with random_stream(self.seed):
            px = vae.decode(vae.prior.sample(num_rows, like=vae.output.weight))
            return self._data_units(px.mean), self._data_units(px.sample())

    def _data_units(self, u: Tensor) -> np.ndarray:
        return self.model.preprocess.inverse(u).cpu().double().numpy()


@dataclass(frozen=True)
class Kind:
    """One figure of the set.

    Args:
        name: of its file.
        group: what it stands under in TensorBoard.
        heading: its name for people.
        reading: how to read it, in one to three sentences.
        draw: subject → figure.
        suits: whether there is anything to draw.
    """

    name: str
    group: str
    heading: str
    reading: str
    draw: Callable[[Subject], "Figure"]
    suits: Callable[[Subject], bool] = lambda _: True

    @property
    def tag(self) -> str:
        """Its name in TensorBoard."""
        return f"{self.group}/{self.name}"


def spread(num_rows: int, most: int = MAX_ROWS) -> np.ndarray:
    """At most ``most`` row numbers, evenly spread: files are often sorted, and their first rows no fair choice."""
    return np.unique(np.linspace(0, num_rows - 1, min(num_rows, most)).round().astype(int))


def new_figure(width: float, height: float, title: str) -> "Figure":
    """An empty figure, inches, with its message on top."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.text(0.02, 1 - 0.12 / height, escaped(title), fontsize=11, fontweight="bold", va="top", linespacing=1.25)
    return figure


def add_axes(figure: "Figure", left: float, bottom: float, right: float, top: float) -> "Axes":
    """Bare axes whose margins are given in inches: a layout engine would draw everything twice."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    )
    axes.set_axis_off()
    axes.xaxis.set_visible(False)
    axes.yaxis.set_visible(False)
    return axes


def add_row(
    figure: "Figure", count: int, bottom: float, top: float, left: float = 0.7, gap: float = 0.7, right: float = 0.2
) -> "list[Axes]":
    """``count`` axes of equal width side by side; margins in inches."""
    width = figure.get_size_inches()[0]
    each = (width - left - right - gap * (count - 1)) / count
    starts = [left + index * (each + gap) for index in range(count)]
    return [add_axes(figure, start, bottom, width - start - each, top) for start in starts]


class Ticks(NamedTuple):
    """One side of some axes.

    Attributes:
        places: where to write, in data units.
        words: what; None writes the numbers.
        label: what the axis shows.
        upright: turn the words.
        lined: draw the axis itself.
    """

    places: Sequence[float] | np.ndarray
    words: Sequence[str] | None = None
    label: str = ""
    upright: bool = False
    lined: bool = True

    def named(self) -> list[tuple[float, str]]:
        """Places and words."""
        return list(zip(self.places, self.words or [f"{place:.6g}" for place in self.places], strict=True))


def dress(axes: "Axes", x: Ticks | None = None, y: Ticks | None = None) -> None:
    """Lines, ticks and words below and left of axes whose limits are set.

    By hand, because matplotlib's own axis is three quarters of what a figure costs.
    """
    from matplotlib.collections import LineCollection

    place, (width, height) = axes.get_position(), axes.figure.get_size_inches()  # type: ignore[union-attr]
    wide, high = 1 / (place.width * width), 1 / (place.height * height)  # an inch, as a share of the axes
    line: Any = {"color": DARK, "linewidth": 0.8, "clip_on": False}
    if x is not None:
        low = axes.get_xaxis_transform()
        if x.lined:
            marks = [[(axes.get_xlim()[0], 0), (axes.get_xlim()[1], 0)]] + [
                [(p, 0), (p, -0.04 * high)] for p in x.places
            ]
            axes.add_collection(LineCollection(marks, transform=low, **line), autolim=False)
        for at, word in x.named():
            axes.text(
                at,
                -0.07 * high,
                word,
                transform=low,
                fontsize=8,
                ha="center",
                va="top",
                rotation=90 if x.upright else 0,
            )
        axes.text(0.5, -0.27 * high, x.label, transform=axes.transAxes, fontsize=9, ha="center", va="top")
    if y is not None:
        side = axes.get_yaxis_transform()
        if y.lined:
            marks = [[(0, axes.get_ylim()[0]), (0, axes.get_ylim()[1])]] + [
                [(0, p), (-0.04 * wide, p)] for p in y.places
            ]
            axes.add_collection(LineCollection(marks, transform=side, **line), autolim=False)
        for at, word in y.named():
            axes.text(-0.07 * wide, at, word, transform=side, fontsize=8, ha="right", va="center")
        axes.text(
            -0.5 * wide, 0.5, y.label, transform=axes.transAxes, fontsize=9, ha="center", va="center", rotation=90
        )


def headed(axes: "Axes", words: str) -> None:
    """A heading above some axes."""
    axes.text(0.5, 1.01, words, transform=axes.transAxes, fontsize=9, ha="center", va="bottom")


def key(figure: "Figure", left: float, top: float, entries: Mapping[str, str], down: bool = False) -> None:
    """What the colours mean, words → colour, from a corner given in inches; below each other or side by side."""
    width, height = figure.get_size_inches()
    for words, color in entries.items():
        figure.text(left / width, 1 - top / height, f"■ {words}", color=color, fontsize=8.5, va="top")
        left, top = (left, top + 0.18) if down else (left + 0.3 + 0.072 * len(words), top)


def png(figure: "Figure") -> bytes:
    """The figure as a PNG file; drawn once, as nothing in it needs to be laid out."""
    from PIL import Image

    canvas = figure.canvas
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in a script that the font lacks
        canvas.draw()
    pixels = np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])  # type: ignore[attr-defined]  # Agg's
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png", compress_level=3)
    return file.getvalue()


def escaped(text: str) -> str:
    """Text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def short(name: str, most: int = 18) -> str:
    """A name of a tick's length, safe for matplotlib."""
    return escaped(name if len(name) <= most else f"{name[: most - 7]}…{name[-6:]}")


def ticks(low: float, high: float, count: int = 3) -> np.ndarray:
    """A few round numbers from ``low`` to ``high``; every tick label costs a millisecond."""
    if not 0 < high - low < math.inf:
        return np.array([low])
    size = 10 ** math.floor(math.log10((high - low) / count) - 1)
    for step in (size * factor for factor in (5, 10, 20, 25, 50, 100)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first <= count:
            break
    return np.arange(first, last + 1) * step + 0.0  # no -0
