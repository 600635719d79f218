"""Rows of a table: whether drawn rows look like real ones, column by column and pair by pair."""

from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.reporting.figures.plot import Plot
from vae_lightning.reporting.figures.statistics import (
    choose_bins,
    compute_correlations,
    compute_density,
    compute_distances,
    space_evenly,
)
from vae_lightning.reporting.figures.style import BLUE, DARK, GREY, ORANGE, WIDTH, add_legend, create_figure, shorten
from vae_lightning.reporting.figures.subject import Subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS, PANELS_IN_ROW, MAX_MATRIX, MAX_COLUMNS = 8, 4, 60, 12
NAMES_ACROSS, NAMES_DOWN = (20, 100), (30, 200)
"""How many names of columns stand along a matrix, and the points that they share."""


def draw_marginals(subject: Subject) -> "Figure":
    """Histograms of real and of drawn values."""
    if np.isin(subject.rows, (0, 1)).all():
        return _draw_shares_of_ones(subject)
    far = compute_distances(subject.rows, subject.samples)
    shown = np.argsort(-far, kind="stable")[:MAX_PANELS]
    many = f"the {len(shown)} of {len(far)} columns that differ most" if len(far) > len(shown) else "the worst first"
    title = f"Do drawn rows have the values of real ones? Outlines should match: {many}"
    rows, columns = -(-len(shown) // PANELS_IN_ROW), min(PANELS_IN_ROW, len(shown))
    figure = create_figure(WIDTH, 0.8 + 1.7 * rows, title)
    for place, index in enumerate(shown, 1):
        axes = figure.add_subplot(rows, columns, place)
        _draw_marginal(axes, subject.rows[:, index], subject.samples[:, index])
        axes.set_title(shorten(subject.names[index]))
    add_legend(figure, axes)
    return figure


def _draw_marginal(axes: "Axes", real: np.ndarray, drawn: np.ndarray) -> None:
    edges = choose_bins(real, drawn)
    real, drawn = (compute_density(values, edges) for values in (real, drawn))
    axes.stairs(real, edges, fill=True, color=BLUE, alpha=0.45, label="real: validation rows")
    axes.stairs(drawn, edges, color=ORANGE, linewidth=1.5, label="drawn from the model: z, then x from p(x|z)")
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, None), yticks=[])
    axes.locator_params(axis="x", nbins=4)
    axes.spines.left.set_visible(False)


def _draw_shares_of_ones(subject: Subject) -> "Figure":
    """A dot a column: all that a binary column's marginal is."""
    real, drawn = subject.rows.mean(0), subject.samples.mean(0)
    figure = create_figure(5.6, 5.6, "Do drawn rows have as many ones? Dots should lie on the line")
    axes = figure.add_subplot(aspect="equal", xlabel="share of ones, real rows", ylabel="share of ones, drawn rows")
    line = np.linspace(0, 1, 51)
    band = 2 * np.sqrt(2 * line * (1 - line) / len(subject.rows))  # two standard errors of the difference of two shares
    chance = "what chance alone allows (95 %)"
    axes.fill_between(line, line - band, line + band, color=GREY, alpha=0.5, linewidth=0, label=chance)
    axes.plot(line, line, color=DARK, linewidth=1)
    axes.plot(real, drawn, "o", color=BLUE, markersize=4, alpha=0.6, label=f"a column, one of {len(real)}")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    add_legend(figure, axes)
    return figure


def draw_correlations(subject: Subject) -> "Figure":
    """Three matrices: real rows, drawn rows, and their difference."""
    from matplotlib import colormaps

    numbers = np.flatnonzero(subject.has_means)
    shown = numbers[space_evenly(len(numbers), MAX_MATRIX)]
    real, drawn = (compute_correlations(rows[:, shown]) for rows in (subject.rows, subject.samples))
    worst = float(np.nanmax(np.abs(drawn - real), initial=0.0))
    many = f" ({len(shown)} of {len(subject.names)} columns)" if len(shown) < len(subject.names) else ""
    title = f"Do columns go together as in the data? The right should be blank; its largest is {worst:.2f}{many}"
    figure = create_figure(WIDTH, 4.4, title)
    panels = figure.subplots(1, 3, sharey=True)
    colors = colormaps["RdBu_r"].with_extremes(bad=GREY)
    matrices = {"real rows": real, "drawn rows": drawn, "drawn − real": drawn - real}
    for axes, (name, matrix) in zip(panels, matrices.items(), strict=True):
        image = axes.imshow(matrix, cmap=colors, vmin=-1, vmax=1, interpolation="nearest", aspect="auto")
        axes.set_title(name)
        for axis, (most, points), rotation in ((axes.xaxis, NAMES_ACROSS, 90), (axes.yaxis, NAMES_DOWN, 0)):
            named = range(0, len(shown), -(-len(shown) // most))
            size = min(8.5, points / len(named))
            axis.set_ticks(named, [shorten(subject.names[shown[i]]) for i in named], rotation=rotation, fontsize=size)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=panels, ticks=[-1, 0, 1], aspect=30, label="correlation")
    return figure


def draw_worst_columns(subject: Subject) -> "Figure":
    """How much the code helps with each column; those it helps least with on top."""
    nats = subject.column_nats
    gain = nats.alone - nats.given_code
    shown = np.argsort(gain, kind="stable")[:MAX_COLUMNS]
    many = f"{len(shown)} worst of {len(gain)} columns" if len(gain) > len(shown) else "worst on top"
    figure = create_figure(WIDTH, 1.2 + 0.27 * len(shown), f"Which columns does the code say least about? ({many})")
    axes = figure.add_subplot(xlabel="nats per row gained over an independent column; 0: the code does not help")
    places = np.arange(len(shown))
    axes.barh(places, gain[shown], color=np.where(gain[shown] > 0, BLUE, ORANGE).tolist(), height=0.7)
    axes.axvline(0, color=DARK, linewidth=1)
    axes.set_yticks(places, [shorten(subject.names[i]) for i in shown])
    axes.set(ylim=(len(shown) - 0.4, -0.6), xlim=(min(0.0, 1.05 * gain[shown[0]]), max(0.05, 1.05 * gain[shown[-1]])))
    axes.grid(axis="x")
    numbers = axes.secondary_yaxis("right")
    words = [f"{gain[i]:+.3f}   (NLL {nats.given_code[i]:.2f}, alone {nats.alone[i]:.2f})" for i in shown]
    numbers.set_yticks(places, words)
    for side in (axes, numbers):
        side.tick_params(axis="y", length=0)
        side.spines[["left", "right"]].set_visible(False)
    return figure


def _is_table(subject: Subject) -> bool:
    return subject.image_shape is None


PLOTS = (
    Plot(
        "marginals",
        "tables",
        "Values of real and of drawn rows",
        "Filled, the values of validation rows; outlined, those of rows drawn from the model. They should cover each "
        "other. The columns that differ most are shown. Drawn values beyond all real ones, or a column that needs two "
        "peaks and gets one, ask for another likelihood or preprocessing. Where all columns are binary, one dot a "
        "column compares the shares of ones.",
        draw_marginals,
        _is_table,
    ),
    Plot(
        "correlations",
        "tables",
        "Which columns go together",
        "Correlations between columns of real rows, of drawn rows, and the difference. Colour on the right is what the "
        "model has not learned, or has made up; a blank middle where the left has colour means that the code is not "
        "used. Grey columns hold one value; columns of categories are left out. Specks of a few hundredths are chance.",
        draw_correlations,
        lambda subject: _is_table(subject) and subject.has_means.sum() > 1 and subject.num_rows > 2,
    ),
    Plot(
        "worst_columns",
        "tables",
        "Columns the code says least about",
        "A bar is how many nats a column becomes cheaper once the code is known, compared with a model of that column "
        "alone, fitted to the training rows. Near 0 is right for pure noise; a column that you know depends on others "
        "should not be here. Below 0 (orange) the decoder does worse than ignoring the code.",
        draw_worst_columns,
        _is_table,
    ),
)
