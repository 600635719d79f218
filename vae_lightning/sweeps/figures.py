"""The picture of a sweep: val/nelbo against each varied setting, and all settings of a configuration as one line."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.inference.reference import DENSITY, ReferenceMeasure
from vae_lightning.reporting.figures.style import (
    BLUE,
    DARK,
    ORANGE,
    add_legend,
    add_title,
    create_figure,
    encode_png,
    use_style,
)
from vae_lightning.sweeps.comparison import Ranking, Result, is_seed, rankings_of
from vae_lightning.sweeps.scale import JOB, Scale, fence, scale_of
from vae_lightning.sweeps.tables import find_varied, headline, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

MAX_CLASSES, MAX_PANELS, PANELS_IN_ROW = 4, 8, 4
MOST_JOINED = 12
NELBO = "val/nelbo"


def render_sweep(results: Sequence[Result]) -> bytes:
    """:func:`draw_sweep` as a PNG file."""
    with use_style():
        return encode_png(draw_sweep(results))


def draw_sweep(results: Sequence[Result]) -> "Figure":
    """One row of panels for each class of comparable jobs; classes share no axis.

    A panel a varied setting, a dot a job, a line through the means; where several settings vary, parallel coordinates
    below. Panels and classes beyond what a page holds are left out, and the title says so.
    """
    rankings = rankings_of(results)
    shown = rankings[:MAX_CLASSES]
    heights = [sum(_heights(ranking)) for ranking in shown] or [1.0]
    width = 12 if any(len(_keys(ranking)) > 1 for ranking in shown) else 7
    left = len(rankings) - len(shown)
    title = headline(results) + (f" {left} more groups of comparable jobs are left out: sweep.md." if left else "")
    figure = create_figure(width, 0.5 + sum(heights), title)
    if not shown:
        figure.text(0.5, 0.3, "No job has finished yet.", ha="center")
        return figure
    parts = figure.subfigures(len(shown), 1, height_ratios=heights, squeeze=False)
    for part, ranking in zip(parts[:, 0], shown, strict=True):
        _draw_ranking(part, ranking, width)
    return figure


def _heights(ranking: Ranking) -> tuple[float, float]:
    """Of the panels, and of the parallel coordinates below them."""
    panels = min(len(_keys(ranking)), MAX_PANELS)
    return 0.5 + 3.2 * max(1, math.ceil(panels / PANELS_IN_ROW)), (3.0 if panels > 1 else 0.0)


def _keys(ranking: Ranking) -> list[str]:
    return [key for key in find_varied(ranking.results) if not is_seed(key)]


def _draw_ranking(part: "SubFigure", ranking: Ranking, width: float) -> None:
    keys = _keys(ranking)
    left = len(keys) - MAX_PANELS
    words = title(ranking) + (f"; {left} more settings vary: sweep.csv" if left > 0 else "")
    add_title(part, words, width)
    keys = keys[:MAX_PANELS]
    top = fence([result.metrics[NELBO] for result in ranking.results])
    if len(keys) < 2:
        _draw_panels(part, keys or [JOB], ranking, top)
        return
    above, below = part.subfigures(2, 1, height_ratios=_heights(ranking), squeeze=False)[:, 0]
    _draw_panels(above, keys, ranking, top)
    _draw_parallel(below.add_subplot(), keys, ranking, top)


def _draw_panels(part: "SubFigure", keys: Sequence[str], ranking: Ranking, top: float) -> None:
    shape = math.ceil(len(keys) / PANELS_IN_ROW), min(len(keys), PANELS_IN_ROW)
    units = ", data units" if ranking.reference_measure == ReferenceMeasure(DENSITY, None) else ""
    panels: list[Axes] = []
    for index, key in enumerate(keys):
        axes = part.add_subplot(*shape, index + 1, sharey=panels[0] if panels else None)
        _draw_panel(axes, scale_of(key, ranking.results), ranking, top)
        if index % PANELS_IN_ROW == 0:
            axes.set_ylabel(f"{NELBO} (lower is better)\nnats per row{units}")
        else:
            axes.tick_params(labelleft=False)
        panels.append(axes)
    add_legend(part, *panels)


def _draw_panel(axes: "Axes", scale: Scale, ranking: Ranking, top: float) -> None:
    places = np.array([scale.place(result) for result in ranking.results])
    values = np.array([result.metrics[NELBO] for result in ranking.results])
    inside = values <= top
    span = (values[inside].max() - values[inside].min()) or 1.0
    low, high = values[inside].min() - 0.08 * span, values[inside].max() + (0.08 if inside.all() else 0.2) * span
    axes.plot(places[inside], values[inside], "o", color=BLUE, alpha=0.6, markersize=5, label="a job")
    if not inside.all():
        many = f"{(~inside).sum()} above the axis, up to {values.max():.4g}"
        axes.plot(places[~inside], np.full((~inside).sum(), high), "^", color=ORANGE, clip_on=False, label=many)
    distinct = np.unique(places[inside])
    if scale.key != JOB and (len(distinct) < inside.sum() or len(distinct) <= MOST_JOINED):
        means = [values[inside & (places == place)].mean() for place in distinct]
        label = "mean" if inside.all() else "mean of those on the axis"
        # Names have no order that a line could follow.
        marker, line = ("_", "") if scale.names else ("", "-")
        axes.plot(distinct, means, marker=marker, markersize=22, linestyle=line, color=DARK, label=label)
    scale.set_axis(axes, "x")
    if scale.names:
        axes.set_xlim(-0.5, len(scale.names) - 0.5)
        if sum(map(len, scale.names)) > 20:
            axes.tick_params(axis="x", labelrotation=30)
            for text in axes.get_xticklabels():
                text.set(horizontalalignment="right", rotation_mode="anchor")
    axes.set(xlabel=scale.key, ylim=(low, high))
    axes.grid(axis="y")


def _draw_parallel(axes: "Axes", keys: Sequence[str], ranking: Ranking, top: float) -> None:
    """One line a configuration through its settings to its mean, the best drawn last and thickest."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    axes.set(xlim=(-0.1, len(keys) - 0.9), ylim=(0, 1), yticks=[])
    axes.set_title("One line per configuration", pad=10)
    lines = np.column_stack([_add_axis(axes, place, key, ranking) for place, key in enumerate(keys)])
    means = [float(np.mean(configuration.values(NELBO))) for configuration in ranking.configurations]
    # The worst tenth shares a colour, so that the good ones can be told apart.
    high = float(np.quantile([mean for mean in means if mean <= top] or means, 0.9))
    normalize, colors = Normalize(means[0], high if high > means[0] else means[0] + 1), colormaps["cividis"]
    alpha = max(0.25, min(0.9, 40 / len(means)))
    for line, mean in zip(lines[:0:-1], means[:0:-1], strict=True):
        axes.plot(line, color=colors(normalize(mean)), linewidth=1.2, alpha=alpha, clip_on=False)
    axes.plot(lines[0], color=ORANGE, linewidth=3, clip_on=False, label="best")
    axes.set_xticks(range(len(keys)), [key.replace(".", ".\n") if len(key) > 22 else key for key in keys])
    axes.tick_params(length=0, pad=10)
    axes.spines[:].set_visible(False)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1))
    extend = "max" if max(means) > high else "neither"
    label = f"mean {NELBO} (nats per row)\ndarker is better"
    axes.figure.colorbar(ScalarMappable(normalize, colors), ax=axes, extend=extend, label=label)


def _add_axis(axes: "Axes", place: int, key: str, ranking: Ranking) -> np.ndarray:
    """A setting's own axis at ``place``, and how high on it, from 0 to 1, each configuration stands."""
    scale, own = scale_of(key, ranking.results), axes.twinx()
    values = [scale.place(configuration.results[0]) for configuration in ranking.configurations]
    own.set_ylim(min(values), max(values))
    scale.set_axis(own, "y")
    own.spines[:].set_visible(False)
    own.spines.right.set(visible=True, position=("data", place))
    for label in own.get_yticklabels():
        label.set(fontsize=8, bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1})
    return (own.transScale + own.transLimits).transform(np.column_stack([np.zeros(len(values)), values]))[:, 1]
