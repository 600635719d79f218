"""Rows of a table: whether drawn rows look like real ones, column by column and pair by pair."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from vae_lightning.data.seeds import random_stream
from vae_lightning.data.store import RowsInMemory
from vae_lightning.reporting.figures.base import (
    BLUE,
    DARK,
    GREY,
    ORANGE,
    Kind,
    Subject,
    Ticks,
    add_axes,
    add_row,
    dress,
    headed,
    key,
    new_figure,
    short,
    ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS, PANELS_IN_ROW, MAX_MATRIX, MAX_NAMES, MAX_COLUMNS = 8, 4, 60, 12, 12
MOST_VALUES, BINS = 40, 30
DRAWS = 8  # of z for each row, where the NLL of a column is measured


def distances(real: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Kolmogorov's distance of each column's real and drawn values, (C,): 0 for equal distributions, at most 1."""
    found = []
    for x, y in zip(np.sort(real, axis=0).T, np.sort(drawn, axis=0).T, strict=True):
        both = np.concatenate([x, y])
        below = [np.searchsorted(values, both, side="right") / len(values) for values in (x, y)]
        found.append(np.abs(below[0] - below[1]).max())
    return np.array(found)


def edges_of(real: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Bins that both share: one for each whole number where that is enough, else even ones over the bulk of both."""
    low, high = min(real.min(), drawn.min()), max(real.max(), drawn.max())
    if high - low <= MOST_VALUES and all((x == np.rint(x)).all() for x in (real, drawn)):
        return np.arange(low - 0.5, high + 1)
    both = np.concatenate([real, drawn])
    bulk = np.quantile(both, (0.002, 0.998))
    low, high = bulk if bulk[1] > bulk[0] else (low, high)
    if not high > low:
        return low + np.array([-0.5, 0.5])
    return np.linspace(low, high, BINS + 1)


def heights(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Densities over the bins; what lies beyond them counts into the outermost ones."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges, density=True)[0]


def marginals(subject: Subject) -> "Figure":
    """Histograms of real and of drawn values."""
    if np.isin(subject.rows, (0, 1)).all():
        return _shares_of_ones(subject)
    far = distances(subject.rows, subject.drawn)
    shown = np.argsort(-far, kind="stable")[:MAX_PANELS]
    many = f"the {len(shown)} of {len(far)} columns that differ most" if len(far) > len(shown) else "the worst first"
    rows = -(-len(shown) // PANELS_IN_ROW)
    figure = new_figure(
        10, 0.55 + 1.75 * rows, f"Do drawn rows have the values of real ones? Outlines should match: {many}"
    )
    for row in range(rows):
        top = 0.9 + 1.75 * row
        part = shown[row * PANELS_IN_ROW : (row + 1) * PANELS_IN_ROW]
        panels = add_row(figure, min(PANELS_IN_ROW, len(shown)), 1.75 * (rows - 1 - row) + 0.3, top, left=0.2, gap=0.25)
        for axes, index in zip(panels, part, strict=False):
            _marginal(axes, subject.rows[:, index], subject.drawn[:, index], subject.names[index])
    key(figure, 0.2, 0.36, {"real: validation rows": BLUE, "drawn: z from the prior, x from p(x|z)": ORANGE})
    return figure


def _marginal(axes: "Axes", real: np.ndarray, drawn: np.ndarray, name: str) -> None:
    edges = edges_of(real, drawn)
    both = heights(real, edges), heights(drawn, edges)
    axes.stairs(both[0], edges, fill=True, color=BLUE, alpha=0.45)
    axes.stairs(both[1], edges, color=ORANGE, linewidth=1.5)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.05 * max(map(np.max, both))))
    headed(axes, short(name, 30))
    dress(axes, Ticks(ticks(edges[0], edges[-1])))


def _shares_of_ones(subject: Subject) -> "Figure":
    """A dot a column: all that a binary column's marginal is."""
    real, drawn = subject.rows.mean(0), subject.drawn.mean(0)
    title = "Do drawn rows have as many ones? Dots should lie on the line"
    figure = new_figure(6.4, 5.6, title)
    axes = add_axes(figure, 0.9, 0.6, 0.5, 0.6)
    line = np.linspace(0, 1, 51)
    band = 2 * np.sqrt(2 * line * (1 - line) / len(subject.rows))  # two standard errors of the difference of two shares
    axes.fill_between(line, line - band, line + band, color=GREY, alpha=0.5, linewidth=0)
    axes.plot(line, line, color=DARK, linewidth=1)
    axes.plot(real, drawn, "o", color=BLUE, markersize=4, alpha=0.6)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    places = np.arange(0, 1.01, 0.25)
    dress(axes, Ticks(places, label="share of ones, real rows"), Ticks(places, label="share of ones, drawn rows"))
    key(figure, 0.9, 0.4, {f"a column, one of {len(real)}": BLUE, "what chance alone allows (95 %)": GREY})
    return figure


def matrix_columns(num_columns: int) -> np.ndarray:
    """The columns whose correlations are shown: all, or evenly spread ones."""
    return np.unique(np.linspace(0, num_columns - 1, min(num_columns, MAX_MATRIX)).round().astype(int))


def correlation(rows: np.ndarray) -> np.ndarray:
    """Correlation matrix; NaN for columns that hold one value."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.corrcoef(rows, rowvar=False)


def correlations(subject: Subject) -> "Figure":
    """Three matrices: real rows, drawn rows, and their difference."""
    from matplotlib import colormaps

    shown = matrix_columns(len(subject.names))
    real, drawn = (correlation(rows[:, shown]) for rows in (subject.rows, subject.drawn))
    worst = float(np.nanmax(np.abs(drawn - real), initial=0.0))
    many = f" ({len(shown)} of {len(subject.names)} columns)" if len(shown) < len(subject.names) else ""
    title = f"Do columns go together as in the data? The right should be blank; its largest is {worst:.2f}{many}"
    named = len(shown) <= MAX_NAMES
    left, bottom = (1.65, 1.35) if named else (0.3, 0.3)
    figure = new_figure(10, 3.2 + bottom, title)
    panels = add_row(figure, 3, bottom, 0.75, left=left, gap=0.15, right=0.9)
    colors = colormaps["RdBu_r"].with_extremes(bad=GREY)
    titles = ("real rows", "drawn rows", "drawn − real")
    for axes, matrix, name in zip(panels, (real, drawn, drawn - real), titles, strict=True):
        axes.imshow(matrix, cmap=colors, vmin=-1, vmax=1, interpolation="nearest", aspect="auto")
        headed(axes, name)
        if named:
            across = Ticks(range(len(shown)), [short(subject.names[i], 14) for i in shown], upright=True, lined=False)
            down = Ticks(range(len(shown)), [short(subject.names[i]) for i in shown], lined=False)
            dress(axes, across, down if axes is panels[0] else None)
    bar = add_axes(figure, 9.35, bottom, 0.5, 0.75)
    bar.imshow(np.linspace(1, -1, 64)[:, None], cmap=colors, vmin=-1, vmax=1, aspect="auto", extent=(0, 1, -1, 1))
    dress(bar, y=Ticks((-1, 0, 1), ("−1", "0", "+1"), lined=False))
    return figure


class ColumnNats(NamedTuple):
    """Of each column, nats per row in data units, (C,): -E_q[log p(x|z)], and the NLL of an independent column."""

    given_code: np.ndarray
    alone: np.ndarray


@torch.no_grad()
def column_nats(subject: Subject) -> ColumnNats:
    """What is left to say of each column once the code is known, and without one."""
    vae, slopes = subject.model.vae, subject.model.log_slopes().cpu().numpy()
    batch = subject.batch
    total = torch.zeros(len(subject.names), dtype=torch.float64, device=batch.x.device)
    with random_stream(subject.seed):
        for _ in range(DRAWS):
            total -= vae(batch, vae.noise(1, batch.num_rows)).log_px.double().mean((0, 1))
    alone = -vae.likelihood.independent_columns(RowsInMemory(subject.training)).log_prob(batch.x).double().mean(0)
    return ColumnNats((total / DRAWS).cpu().numpy() - slopes, alone.cpu().numpy() - slopes)


def worst_columns(subject: Subject) -> "Figure":
    """How much the code helps with each column; those it helps least with on top."""
    nats = column_nats(subject)
    gain = nats.alone - nats.given_code
    shown = np.argsort(gain, kind="stable")[:MAX_COLUMNS]
    many = f"{len(shown)} worst of {len(gain)} columns" if len(gain) > len(shown) else "worst on top"
    figure = new_figure(8, 1.3 + 0.27 * len(shown), f"Which columns does the code say least about? ({many})")
    axes = add_axes(figure, 1.6, 0.6, 0.3, 0.5)
    places = np.arange(len(shown))
    axes.barh(places, gain[shown], color=np.where(gain[shown] > 0, BLUE, ORANGE).tolist(), height=0.7)
    low, high = min(0.0, 1.1 * float(gain[shown].min())), 1.6 * max(float(gain[shown].max()), 0.05)
    axes.set(xlim=(low, high), ylim=(len(shown) - 0.4, -0.6))
    axes.vlines(0, len(shown) - 0.4, -0.6, color=DARK, linewidth=1)
    across = "nats per row gained over an independent column; 0: the code does not help"
    dress(
        axes,
        Ticks(ticks(low, high, 5), label=across),
        Ticks(places, [short(subject.names[i]) for i in shown], lined=False),
    )
    for place, index in zip(places, shown, strict=True):
        words = f"  {gain[index]:+.3f}   (NLL {nats.given_code[index]:.2f}, alone {nats.alone[index]:.2f})"
        axes.text(max(float(gain[index]), 0.0), float(place), words, fontsize=7.5, va="center")
    return figure


def _is_table(subject: Subject) -> bool:
    return subject.image_shape is None


KINDS = (
    Kind(
        "marginals",
        "tables",
        "Values of real and of drawn rows",
        "Filled, the values of validation rows; outlined, those of rows drawn from the model. They should cover each "
        "other. The columns that differ most are shown. Drawn values beyond all real ones, or a column that needs two "
        "peaks and gets one, ask for another likelihood or preprocessing. Where all columns are binary, one dot a "
        "column compares the shares of ones.",
        marginals,
        _is_table,
    ),
    Kind(
        "correlations",
        "tables",
        "Which columns go together",
        "Correlations between columns of real rows, of drawn rows, and the difference. Colour on the right is what the "
        "model has not learned, or has made up; a blank middle where the left has colour means that the code is not "
        "used. Grey columns hold one value. Specks of a few hundredths are chance.",
        correlations,
        lambda subject: _is_table(subject) and len(subject.names) > 1 and len(subject.batch.x) > 2,
    ),
    Kind(
        "worst_columns",
        "tables",
        "Columns the code says least about",
        "A bar is how many nats a column becomes cheaper once the code is known, compared with a model of that column "
        "alone, fitted to the training rows. Near 0 is right for pure noise; a column that you know depends on others "
        "should not be here. Below 0 (orange) the decoder does worse than ignoring the code.",
        worst_columns,
        _is_table,
    ),
)
