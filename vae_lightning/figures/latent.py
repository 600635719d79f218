"""The latent code: which dimensions carry information, whether they fill the prior, how rows lie in it."""

import math
from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.draws import even_normals
from vae_lightning.figures.base import (
    BLUE,
    DARK,
    GREY,
    ORANGE,
    Kind,
    Subject,
    add_axes,
    new_figure,
    short,
    ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BARS, MAX_RIDGES, MAX_CLASSES = 64, 8, 12
POINTS = 4000  # of the aggregate posterior's histogram
REACH = 4.0
"""Standard deviations of the prior that the histograms show."""
BINS = np.linspace(-REACH, REACH, 61)
STD_BINS = np.linspace(0, 1.5, 61)
CLASS_COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#000000", "#999933", "#AA4499",
    "#44AA99", "#777777",
)  # fmt: skip


def kl(subject: Subject) -> "Figure":
    """Bars of each dimension's KL."""
    shown = subject.order[:MAX_BARS]
    active, latent_dim = int(subject.active.sum()), subject.latent_dim
    left = f", the {MAX_BARS} largest shown" if latent_dim > MAX_BARS else ""
    title = f"{active} of {latent_dim} latent dimensions are in use: {subject.kl.sum():.2f} nats per row in all{left}"
    figure = new_figure(8, 3.4, title)
    axes = add_axes(figure, 0.7, 0.6, 0.2, 0.5, "latent dimension, largest first", "KL (nats per row)")
    places = np.arange(len(shown))
    for is_active, color, label in ((True, BLUE, "in use"), (False, GREY, "unused: the same code for every row")):
        mine = subject.active[shown] == is_active
        if mine.any():
            axes.bar(places[mine], subject.kl[shown][mine], color=color, label=label, width=0.8)
    step = math.ceil(len(shown) / 16)
    axes.set_xticks(places[::step], [f"z{index}" for index in shown[::step]])
    axes.set_xlim(-0.6, len(shown) - 0.4)
    axes.set_ylim(0, max(1.1 * float(subject.kl.max()), 1e-3))
    axes.legend(fontsize=8, frameon=False)
    return figure


def aggregate_draws(subject: Subject) -> np.ndarray:
    """Draws of the aggregate posterior, the mean of q(z|x) over rows: several for each row, (M, L)."""
    count = max(1, POINTS // len(subject.means))
    eps = even_normals(count, subject.latent_dim, subject.seed).numpy()
    return (subject.means + subject.stds * eps[:, None]).reshape(-1, subject.latent_dim)


def codes(subject: Subject) -> "Figure":
    """One row a dimension: the aggregate posterior against the prior; the posteriors' widths beside it."""
    shown = subject.order[:MAX_RIDGES]
    count, draws = len(shown), aggregate_draws(subject)
    left = f" ({count} largest of {subject.latent_dim})" if subject.latent_dim > count else ""
    figure = new_figure(9, 1.4 + 0.5 * count, f"Do the codes fill the prior? Blue should match the dark curve{left}")
    means = add_axes(figure, 1.2, 0.6, 3.4, 0.75, "z (prior: mean 0, standard deviation 1)")
    widths = add_axes(figure, 6.1, 0.6, 0.2, 0.75, "standard deviation of q(z|x); 1 is the prior's")
    z = np.linspace(-REACH, REACH, 121)
    curve = np.exp(-0.5 * z**2)  # as high as the row allows: the prior's density over its peak
    peak = 1 / math.sqrt(2 * math.pi)
    for row, index in enumerate(shown):
        base = count - 1 - row
        _ridge(means, density(draws[:, index], BINS) / peak, BINS, base, BLUE, "codes: draws of q(z|x), all rows")
        _ridge(means, density(subject.means[:, index], BINS) / peak, BINS, base, ORANGE, "their means", filled=False)
        means.plot(z, base + 0.7 * curve, color=DARK, linewidth=1.2, label="prior")
        heights = density(subject.stds[:, index], STD_BINS)
        _ridge(widths, heights / max(heights.max(), 1e-9), STD_BINS, base, BLUE, "")
    labels = [f"z{index}  {subject.kl[index]:.2f} nats" for index in reversed(shown)]
    means.set_yticks(range(count), labels)
    means.legend(*_firsts(means), fontsize=8, ncols=3, frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    widths.set_yticks([])
    widths.axvline(1, color=DARK, linewidth=1.2)
    means.set_xlim(-REACH, REACH)
    widths.set_xlim(0, STD_BINS[-1])
    widths.set_xticks([0, 0.5, 1, 1.5])
    for axes in (means, widths):
        axes.set_ylim(0, count)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return figure


def density(values: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Histogram heights; what lies beyond the bins counts into the outermost ones."""
    return np.histogram(np.clip(values, bins[0], bins[-1]), bins, density=True)[0]


def _ridge(
    axes: "Axes", heights: np.ndarray, bins: np.ndarray, base: int, color: str, label: str, filled: bool = True
) -> None:
    # A collapsed dimension's means are a spike of any height: cut where the next row begins.
    top = base + np.minimum(0.7 * heights, 0.97)
    axes.stairs(
        top, bins, baseline=base, fill=filled, color=color, alpha=0.45 if filled else 1, linewidth=1, label=label
    )


def _firsts(axes: "Axes") -> tuple[list, list]:
    handles, labels = axes.get_legend_handles_labels()
    first = dict(zip(reversed(labels), reversed(handles), strict=True))
    order = list(dict.fromkeys(labels))
    return [first[label] for label in order], order


def principal(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two principal components of ``codes`` (N, L), and the share of the variance of each."""
    centred = codes - codes.mean(0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])  # an SVD's signs are arbitrary
    return codes @ (axes * signs[:, None])[:2].T, (sizes**2 / max(float((sizes**2).sum()), 1e-300))[:2]


def scatter(subject: Subject) -> "Figure":
    """Posterior means in the plane, coloured by label."""
    if subject.latent_dim == 2:
        points, names = subject.means, ["z0", "z1"]
    else:
        points, shares = principal(subject.means)
        names = [f"{n} principal component ({s:.0%} of the codes' variance)" for n, s in zip(("1st", "2nd"), shares)]  # noqa: B905
    colored = ", coloured by label: do equal labels lie together?" if subject.labels is not None else ""
    figure = new_figure(7.6, 5.6, f"Where {len(points):,} validation rows lie in the code{colored}")
    axes = add_axes(figure, 0.7, 0.6, 1.9, 0.5, *names)
    for radius in (1, 2):
        angle = np.linspace(0, 2 * np.pi, 73)
        line = axes.plot(radius * np.cos(angle), radius * np.sin(angle), "--", color=GREY, linewidth=1, zorder=0)
    line[0].set_label("prior: 39 % and\n86 % of draws")
    _points(axes, points, subject.labels)
    reach = max(2.2, float(np.abs(points).max()) * 1.05)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set_xticks(ticks(-reach, reach, 5))
    axes.set_yticks(ticks(-reach, reach, 5))
    return figure


def _points(axes: "Axes", points: np.ndarray, labels: np.ndarray | None) -> None:
    style = {"s": 14, "linewidths": 0, "alpha": 0.8}
    if labels is None:
        axes.scatter(*points.T, color=BLUE, **style)  # type: ignore[arg-type]
    elif labels.dtype.kind == "f" and len(np.unique(labels)) > MAX_CLASSES:
        dots = axes.scatter(*points.T, c=labels, cmap="viridis", **style)  # type: ignore[arg-type]
        axes.figure.colorbar(dots, ax=axes, label="label", shrink=0.7)
    else:
        names, counts = np.unique(labels, return_counts=True)
        kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_CLASSES])
        if len(kept) < len(names):
            rest = ~np.isin(labels, names[kept])
            axes.scatter(*points[rest].T, color=GREY, label="all others", **style)  # type: ignore[arg-type]
        for color, index in zip(CLASS_COLORS, kept, strict=False):
            mine = points[labels == names[index]]
            axes.scatter(*mine.T, color=color, label=short(str(names[index])), **style)  # type: ignore[arg-type]
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.02, 1))


KINDS = (
    Kind(
        "kl",
        "latent",
        "Information in each latent dimension",
        "A bar is the mean KL between a dimension's posterior and the prior: how many nats of a row it carries. Grey "
        "dimensions give every row the same code (variance of the posterior means at most 0.01). Some grey is usual, "
        "as the model takes what it needs; all grey is posterior collapse, and none may mean that "
        "model.latent_dim is too small.",
        kl,
    ),
    Kind(
        "codes",
        "latent",
        "The codes against the prior",
        "Left, the codes of all rows together (the aggregate posterior, blue) should look like the prior (dark curve): "
        "where blue is missing, draws from the prior meet a decoder that has learned nothing there. Orange, the "
        "posterior means, is wide where a dimension tells rows apart and a spike at 0 where it does not. Right, how "
        "wide each row's posterior is: near 0 a precise code, at 1 none.",
        codes,
    ),
    Kind(
        "scatter",
        "latent",
        "Rows in the latent code",
        "Every dot is the posterior mean of a validation row, seen along the two directions in which the codes vary "
        "most. Dots should fill the dashed circles without large holes. The labels were never trained on: where they "
        "form groups, the code has found them by itself.",
        scatter,
        lambda subject: subject.latent_dim >= 2 and len(subject.u) > 2,
    ),
)
