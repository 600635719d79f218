"""Rows of a table: whether drawn rows look like real ones, column by column and pair by pair."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.data.columns import Column
from vae_lightning.data.dates import find_starts
from vae_lightning.reporting.figures.association import compute_associations
from vae_lightning.reporting.figures.plot import Plot
from vae_lightning.reporting.figures.statistics import (
    choose_bins,
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
MAX_LEVELS, FEW_BARS = 12, 8
"""Bars of a panel, and how many have room in a low one."""
REAL, DRAWN = "real: validation rows", "drawn from the model: z, then x from p(x|z)"


def draw_marginals(subject: Subject) -> "Figure":
    """Histograms of real and of drawn values; of texts, bars by level."""
    if np.isin(subject.rows, (0, 1, np.nan)).all() and not any(column.levels for column in subject.columns):
        return _draw_shares_of_ones(subject)
    far = compute_distances(subject.rows, subject.samples, subject.is_category)
    shown = np.argsort(-far, kind="stable")[:MAX_PANELS]
    many = f"the {len(shown)} of {len(far)} columns that differ most" if len(far) > len(shown) else "the worst first"
    title = f"Do drawn rows have the values of real ones? Outlines should match: {many}"
    rows, columns = -(-len(shown) // PANELS_IN_ROW), min(PANELS_IN_ROW, len(shown))
    most = max(len(subject.columns[index].levels or ()) for index in shown)
    figure = create_figure(WIDTH, 0.8 + rows * (1.7 if most <= FEW_BARS else 2.2), title)
    for place, index in enumerate(shown, 1):
        axes, column = figure.add_subplot(rows, columns, place), subject.columns[index]
        values = (subject.rows[:, index], subject.samples[:, index])
        if column.levels is None:
            _draw_marginal(axes, *values, column)
        else:
            _draw_levels(axes, *values, column.levels)
        axes.set_title(shorten(column.name))
    add_legend(figure, axes)
    return figure


def _draw_marginal(axes: "Axes", real: np.ndarray, drawn: np.ndarray, column: Column) -> None:
    starts = [find_starts(values, column) for values in (real, drawn)]
    is_date = column.is_date or starts[0] is not None
    real, drawn = (given if days is None else days for given, days in zip((real, drawn), starts, strict=True))
    edges = choose_bins(real, drawn)
    real, drawn = (compute_density(values, edges) for values in (real, drawn))
    axes.stairs(real, edges, fill=True, color=BLUE, alpha=0.45, label=REAL)
    axes.stairs(drawn, edges, color=ORANGE, linewidth=1.5, label=DRAWN)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, None), yticks=[])
    if is_date:
        _write_dates(axes)
    elif column.dtype == "bool":
        axes.set_xticks([0, 1], ["False", "True"])
    else:
        axes.locator_params(axis="x", nbins=4)
    axes.spines.left.set_visible(False)


def _write_dates(axes: "Axes") -> None:
    """Days since 1970, which is how matplotlib counts, as dates."""
    from matplotlib.dates import MONTHLY, AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=5)
    locator.intervald[MONTHLY] = [1, 2, 3, 4, 6, 12]  # also half-years
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _draw_levels(axes: "Axes", real: np.ndarray, drawn: np.ndarray, levels: Sequence[str]) -> None:
    """Bars of the levels' shares, the most frequent on top; rare ones share the last."""
    shares = np.stack([count_levels(values, len(levels)) for values in (real, drawn)])
    order = np.argsort(-shares[0], kind="stable")
    kept = order if len(order) <= MAX_LEVELS else order[: MAX_LEVELS - 1]
    names = [shorten(levels[index], 14) for index in kept]
    shares, rest = shares[:, kept], shares.sum(1) - shares[:, kept].sum(1)
    if len(kept) < len(levels):
        names.append(f"{len(levels) - len(kept):,} others")
        shares = np.column_stack([shares, rest])
    places = np.arange(len(names))
    axes.barh(places, shares[0], height=0.8, color=BLUE, alpha=0.45, linewidth=0, label=REAL)
    axes.barh(places, shares[1], height=0.8, fill=False, edgecolor=ORANGE, linewidth=1.2, label=DRAWN)
    axes.set_yticks(places, names, fontsize=8.5 if len(names) <= FEW_BARS else 6.5)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, None))
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.locator_params(axis="x", nbins=3)
    axes.tick_params(axis="y", length=0)


def count_levels(codes: np.ndarray, size: int) -> np.ndarray:
    """The share of each of ``size`` levels among codes, (size,); NaN is none of them."""
    seen = codes[~np.isnan(codes)].astype(int)
    return np.bincount(seen, minlength=size) / max(len(seen), 1)


def _draw_shares_of_ones(subject: Subject) -> "Figure":
    """A dot a column: all that a binary column's marginal is."""
    seen = ~np.isnan(subject.rows)
    shown = seen.any(axis=0)
    real, drawn = np.nanmean(subject.rows[:, shown], axis=0), subject.samples[:, shown].mean(0)
    figure = create_figure(5.6, 5.6, "Do drawn rows have as many ones? Dots should lie on the line")
    axes = figure.add_subplot(aspect="equal", xlabel="share of ones, real rows", ylabel="share of ones, drawn rows")
    line = np.linspace(0, 1, 51)
    # Two standard errors of the difference of two shares; the real one is of fewer rows where cells are empty.
    rows = 2 / (1 / seen.sum(0)[shown].mean() + 1 / len(subject.rows))
    band = 2 * np.sqrt(2 * line * (1 - line) / rows)
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

    shown = space_evenly(len(subject.names), MAX_MATRIX)
    real, drawn = (
        compute_associations(rows[:, shown], subject.is_category[shown]) for rows in (subject.rows, subject.samples)
    )
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
    figure.colorbar(
        image,
        ax=panels,
        ticks=[-1, 0, 1],
        aspect=30,
        label="association" if subject.is_category[shown].any() else "correlation",
    )
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
        "other. The columns that differ most are shown; of texts a bar is the share of rows with that text, the most "
        "frequent on top. Empty cells are left out. Drawn values beyond all real ones, or a column that needs two "
        "peaks and gets one, ask for another likelihood or preprocessing. Where all columns are binary, one dot a "
        "column compares the shares of ones.",
        draw_marginals,
        _is_table,
    ),
    Plot(
        "correlations",
        "tables",
        "Which columns go together",
        "How closely columns go together in real rows, in drawn rows, and the difference. Colour on the right is what "
        "the model has not learned, or has made up; a blank middle where the left has colour means that the code is "
        "not used. Between numbers it is their correlation. Between texts, or numbers of few values that are modelled "
        "as categories, it is Cramér's V, and between these and numbers the correlation ratio, the root of the share "
        "of the variance that the category explains: both have no sign, and 0 is independent. Empty cells are left out "
        "pair by pair. Grey columns hold one value. Specks of a few hundredths are chance.",
        draw_correlations,
        lambda subject: _is_table(subject) and len(subject.names) > 1 and subject.num_rows > 2,
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
