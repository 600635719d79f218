"""The picture of a sweep: val/nelbo against each varied setting, and all settings of a configuration as one line."""

import io
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.inference.reference import DENSITY, ReferenceMeasure
from vae_lightning.sweeps.comparison import Ranking, Result, is_seed, rankings_of
from vae_lightning.sweeps.scale import JOB, Scale, fence, scale_of
from vae_lightning.sweeps.tables import headline, title, varied

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

MAX_CLASSES, MAX_PANELS, PANELS_IN_ROW = 4, 8, 4
MOST_JOINED = 12
DOT, MEAN, BEST = "#0072B2", "#555555", "#D55E00"
"""Okabe and Ito's blue and vermilion, which colour-blind people tell apart."""
NELBO = "val/nelbo"


def png_of(results: Sequence[Result]) -> bytes:
    """:func:`figure_of` as a PNG."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in a script that the font lacks
        figure_of(results).savefig(file, format="png", dpi=100)
    return file.getvalue()


def figure_of(results: Sequence[Result]) -> "Figure":
    """One row of panels for each class of comparable jobs; classes share no axis.

    A panel a varied setting, a dot a job, a line through the means; where several settings vary, parallel coordinates
    below. Panels and classes beyond what a page holds are left out, and the title says so.
    """
    from matplotlib.figure import Figure

    rankings = rankings_of(results)
    drawn = rankings[:MAX_CLASSES]
    heights = [sum(_heights(ranking)) for ranking in drawn] or [2.0]
    width = 12 if any(len(_keys(ranking)) > 1 for ranking in drawn) else 7
    figure = Figure(figsize=(width, 0.5 + sum(heights)), layout="constrained")
    left = len(rankings) - len(drawn)
    figure.suptitle(
        headline(results) + (f" {left} more groups of comparable jobs are left out: sweep.md." if left else ""),
        fontsize=10,
    )
    if not drawn:
        figure.text(0.5, 0.4, "No job has finished yet.", ha="center")
        return figure
    parts = figure.subfigures(len(drawn), 1, height_ratios=heights, squeeze=False)
    for part, ranking in zip(parts[:, 0], drawn, strict=True):
        _draw(part, ranking)
    return figure


def _heights(ranking: Ranking) -> tuple[float, float]:
    """Of the panels, and of the parallel coordinates below them."""
    panels = min(len(_keys(ranking)), MAX_PANELS)
    return 0.5 + 3.2 * max(1, math.ceil(panels / PANELS_IN_ROW)), (3.0 if panels > 1 else 0.0)


def _keys(ranking: Ranking) -> list[str]:
    return [key for key in varied(ranking.results) if not is_seed(key)]


def _draw(part: "SubFigure", ranking: Ranking) -> None:
    keys = _keys(ranking)
    left = len(keys) - MAX_PANELS
    part.suptitle(
        escaped(title(ranking)) + (f"; {left} more settings vary: sweep.csv" if left > 0 else ""),
        fontsize=11,
        fontweight="bold",
    )
    keys = keys[:MAX_PANELS]
    top = fence([result.metrics[NELBO] for result in ranking.results])
    if len(keys) < 2:
        _panels(part, keys or [JOB], ranking, top)
        return
    above, below = part.subfigures(2, 1, squeeze=False, height_ratios=_heights(ranking))[:, 0]
    _panels(above, keys, ranking, top)
    _parallel(below.add_subplot(), keys, ranking, top)


def _panels(part: "SubFigure", keys: Sequence[str], ranking: Ranking, top: float) -> None:
    grid = part.add_gridspec(math.ceil(len(keys) / PANELS_IN_ROW), min(len(keys), PANELS_IN_ROW))
    first = None
    for index, key in enumerate(keys):
        axes = part.add_subplot(grid[divmod(index, PANELS_IN_ROW)], sharey=first)
        _panel(axes, scale_of(key, ranking.results), ranking, top)
        if index % PANELS_IN_ROW == 0:
            units = ", data units" if ranking.reference_measure == ReferenceMeasure(DENSITY, None) else ""
            axes.set_ylabel(f"{NELBO} (lower is better)\nnats per row{units}")
        if first is None:
            first = axes
            axes.legend(fontsize=7, framealpha=0.7)


def _panel(axes: "Axes", scale: Scale, ranking: Ranking, top: float) -> None:
    places = np.array([scale.place(result) for result in ranking.results])
    values = np.array([result.metrics[NELBO] for result in ranking.results])
    inside = values <= top
    span = (values[inside].max() - values[inside].min()) or 1.0
    low, high = values[inside].min() - 0.08 * span, values[inside].max() + (0.08 if inside.all() else 0.2) * span
    axes.plot(places[inside], values[inside], "o", color=DOT, alpha=0.6, markersize=5, label="a job")
    if not inside.all():
        many = f"{(~inside).sum()} above the axis, up to {values.max():.4g}"
        axes.plot(places[~inside], np.full((~inside).sum(), high), "^", color=BEST, clip_on=False, label=many)
    distinct = np.unique(places[inside])
    if scale.key != JOB and (len(distinct) < inside.sum() or len(distinct) <= MOST_JOINED):
        means = [values[inside & (places == place)].mean() for place in distinct]
        label = "mean" if inside.all() else "mean of those on the axis"
        # Names have no order that a line could follow.
        marker, line = ("_", "") if scale.names else ("", "-")
        axes.plot(distinct, means, marker=marker, markersize=22, linestyle=line, color=MEAN, label=label)
    axes.set_ylim(low, high)
    scale.dress(axes)
    axes.set_xlabel(escaped(scale.key))
    axes.grid(axis="y", alpha=0.3)


def _parallel(axes: "Axes", keys: Sequence[str], ranking: Ranking, top: float) -> None:
    """One line a configuration through its settings to its mean, the best drawn last and thickest."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scales = [scale_of(key, ranking.results) for key in keys]
    means = [float(np.mean(configuration.values(NELBO))) for configuration in ranking.configurations]
    # The worst tenth shares a colour, so that the good ones can be told apart.
    high = float(np.quantile([mean for mean in means if mean <= top] or means, 0.9))
    normalize, colors = Normalize(means[0], high if high > means[0] else means[0] + 1), colormaps["cividis"]
    for index in reversed(range(len(means))):
        result = ranking.configurations[index].results[0]
        heights = [scale.share(result) for scale in scales]
        best = index == 0
        axes.plot(
            heights,
            color=BEST if best else colors(normalize(means[index])),
            linewidth=3 if best else 1.2,
            alpha=1.0 if best else max(0.25, min(0.9, 40 / len(means))),
            label="best" if best else None,
        )
    for position, scale in enumerate(scales):
        axes.axvline(position, color="black", linewidth=0.8)
        for height, text in scale.marks():
            mark = axes.annotate(escaped(text), (position, height), (5, 0), textcoords="offset points", va="center")
            mark.set(fontsize=7, in_layout=False, bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1})
    axes.set_xticks(range(len(keys)), [escaped(wrapped(key)) for key in keys], fontsize=8)
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(keys) - 0.7)
    axes.set_ylim(-0.08, 1.08)
    axes.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    axes.set_title("One line per configuration", fontsize=9)
    bar = axes.figure.colorbar(
        ScalarMappable(normalize, colors), ax=axes, extend="max" if max(means) > high else "neither"
    )
    bar.set_label(f"mean {NELBO} (nats per row)\ndarker is better", fontsize=8)


def escaped(text: str) -> str:
    """Text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def wrapped(text: str) -> str:
    """A long dotted name in lines of a tick label's width."""
    return text.replace(".", ".\n") if len(text) > 22 else text
