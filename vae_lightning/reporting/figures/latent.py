"""The latent code: which dimensions carry information, whether they fill the prior, how rows lie in it."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_lightning.reporting.figures.plot import Plot
from vae_lightning.reporting.figures.statistics import compute_density, compute_ellipse, compute_principal_axes
from vae_lightning.reporting.figures.style import BLUE, DARK, GREY, ORANGE, WIDTH, add_legend, create_figure, shorten
from vae_lightning.reporting.figures.subject import Subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BARS, MAX_RIDGES, MAX_CLASSES = 64, 8, 12
REACH = 4.0
"""How far from 0 the histograms reach."""
PEAK = 1 / math.sqrt(2 * math.pi)  # of the density of N(0, 1), which heights are told in
HELD = (0.3935, 0.8647)
"""Shares within one and two standard deviations of a normal in the plane."""
BINS = np.linspace(-REACH, REACH, 61)
STD_BINS = np.linspace(0, 1.5, 61)
CLASS_COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#000000", "#999933", "#AA4499",
    "#44AA99", "#777777",
)  # fmt: skip


def draw_kl(subject: Subject) -> "Figure":
    """Bars of each dimension's KL."""
    shown = subject.order[:MAX_BARS]
    used, latent_dim = int(subject.active.sum()), subject.latent_dim
    left = f", the {MAX_BARS} largest shown" if latent_dim > MAX_BARS else ""
    # A KL estimated by Monte Carlo does not split into dimensions; that to a standard normal does.
    splits = subject.model.vae.kl_is_exact
    nats = f": {subject.kl.sum():.2f} nats per row in all" if splits else ""
    title = f"{used} of {latent_dim} latent dimensions are in use{nats}{left}"
    figure = create_figure(WIDTH, 3.2, title)
    what = "KL" if splits else "KL to N(0, 1)"
    axes = figure.add_subplot(xlabel="latent dimension, largest first", ylabel=f"{what} (nats per row)")
    places, active = np.arange(len(shown)), subject.active[shown]
    for which, color, label in (
        (active, BLUE, "in use"),
        (~active, GREY, "unused: the same code for every row"),
    ):
        if which.any():
            axes.bar(places[which], subject.kl[shown[which]], color=color, label=label)
    step = math.ceil(len(shown) / 16)
    axes.set_xticks(places[::step], [f"z{index}" for index in shown[::step]])
    axes.set(xlim=(-0.6, len(shown) - 0.4), ylim=(0, max(1.1 * float(subject.kl.max()), 1e-3)))
    axes.tick_params(axis="x", length=0)
    axes.locator_params(axis="y", nbins=4)
    axes.grid(axis="y")
    axes.legend(loc="upper right")
    return figure


def draw_codes(subject: Subject) -> "Figure":
    """One row a dimension: the aggregate posterior against the prior; the posteriors' widths beside it."""
    shown = subject.order[:MAX_RIDGES]
    left = f" ({len(shown)} largest of {subject.latent_dim})" if subject.latent_dim > len(shown) else ""
    title = f"Do the codes fill the prior? Blue should match the dark curve{left}"
    figure = create_figure(WIDTH, 1.4 + 0.5 * len(shown), title)
    codes, widths = figure.subplots(1, 2, sharey=True, width_ratios=(5, 3))
    for base, index in enumerate(shown[::-1]):
        draws, means, stds = (x[:, index] for x in (subject.aggregate_posterior, subject.means, subject.stds))
        _draw_ridge(codes, base, compute_density(draws, BINS) / PEAK, BINS, label="codes: draws of q(z|x), all rows")
        _draw_ridge(codes, base, compute_density(means, BINS) / PEAK, BINS, filled=False, label="their means")
        prior = subject.prior_draws[:, index]
        heights = np.minimum(0.7 * compute_density(prior, BINS) / PEAK, 0.97)
        codes.stairs(base + heights, BINS, baseline=None, color=DARK, linewidth=1.2, label="draws of the prior")
        widths.vlines(prior.std(), base, base + 0.97, color=DARK, linewidth=1.2)
        spread = compute_density(stds, STD_BINS)
        _draw_ridge(widths, base, spread / spread.max(), STD_BINS)
    codes.set(xlabel="z", xlim=(-REACH, REACH), xticks=range(-4, 5, 2))
    widths.set(xlabel="standard deviation of q(z|x); dark: prior", xlim=(0, STD_BINS[-1]), xticks=(0, 0.5, 1, 1.5))
    codes.set_ylim(0, len(shown))
    codes.set_yticks(np.arange(len(shown)) + 0.25, [f"z{i}  {subject.kl[i]:.2f} nats" for i in shown[::-1]])
    for axes in (codes, widths):
        axes.tick_params(axis="y", length=0)
        axes.spines.left.set_visible(False)
    add_legend(figure, codes)
    return figure


def _draw_ridge(
    axes: "Axes", base: int, heights: np.ndarray, bins: np.ndarray, filled: bool = True, label: str = ""
) -> None:
    # A collapsed dimension's means are a spike of any height: cut where the next row begins.
    tops = base + np.minimum(0.7 * heights, 0.97)
    color, alpha = (BLUE, 0.45) if filled else (ORANGE, 1.0)
    axes.stairs(tops, bins, baseline=base, fill=filled, color=color, alpha=alpha, label=label)


def draw_scatter(subject: Subject) -> "Figure":
    """Posterior means in the plane, coloured by label."""
    from matplotlib.patches import Ellipse

    if subject.latent_dim == 2:
        plane, names = np.eye(2), ["z0", "z1"]
    else:
        plane, shares = compute_principal_axes(subject.means)
        parts = zip(("1st", "2nd"), shares, strict=True)
        names = [f"{number} principal component ({share:.0%} of the codes' variance)" for number, share in parts]
    points, prior = subject.means @ plane.T, subject.prior_draws @ plane.T
    asked = "do equal labels lie together?" if subject.labels is not None else "do they fill the ellipses?"
    figure = create_figure(7, 6.2, f"Where {len(points):,} validation rows lie in the code: {asked}")
    axes = figure.add_subplot(aspect="equal", xlabel=names[0], ylabel=names[1])
    axes.set_title("dashed lines hold 39 % and 86 % of the prior's draws", color=DARK, fontsize=8.5)
    for share in HELD:
        centre, (width, height), angle = compute_ellipse(prior, share)
        axes.add_patch(Ellipse(tuple(centre), width, height, angle=angle, fill=False, color=GREY, linestyle="--"))
    _draw_points(figure, axes, points, subject.labels)
    reach = 1.05 * max(float(np.abs(points).max()), float(np.abs(centre).max()) + max(width, height) / 2)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    axes.locator_params(nbins=5)
    return figure


def _draw_points(figure: "Figure", axes: "Axes", points: np.ndarray, labels: np.ndarray | None) -> None:
    from matplotlib.colors import ListedColormap

    x, y = points.T
    style: dict[str, Any] = {"s": 16, "linewidths": 0, "alpha": 0.8}
    if labels is None:
        axes.scatter(x, y, color=BLUE, **style)
    elif labels.dtype.kind == "f" and len(np.unique(labels)) > MAX_CLASSES:
        figure.colorbar(axes.scatter(x, y, c=labels, cmap="viridis", **style), label="label", shrink=0.8)
    else:
        classes, names, colors = color_classes(labels)
        dots = axes.scatter(x, y, c=classes, cmap=ListedColormap(colors), vmin=-0.5, vmax=len(names) - 0.5, **style)
        handles, _ = dots.legend_elements(num=range(len(names)))
        figure.legend(handles, names, title="label", loc="outside right center")


def color_classes(labels: np.ndarray) -> tuple[np.ndarray, list[str], list[str]]:
    """The class of each row, and the name and colour of each class: rare ones share the last."""
    names, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_CLASSES])
    number = np.full(len(names), len(kept))
    number[kept] = np.arange(len(kept))
    is_all = len(kept) == len(names)
    shown = [shorten(str(names[index])) for index in kept] + ([] if is_all else ["all others"])
    return number[place], shown, [*CLASS_COLORS[: len(kept)], *([] if is_all else [GREY])]


PLOTS = (
    Plot(
        "kl",
        "latent",
        "Information in each latent dimension",
        "A bar is the mean KL between a dimension's posterior and the prior: how many nats of a row it carries. Grey "
        "dimensions give every row the same code (variance of the posterior means at most 0.01). Some grey is usual, "
        "as the model takes what it needs; all grey is posterior collapse, and none may mean that "
        "model.latent_dim is too small.",
        draw_kl,
    ),
    Plot(
        "codes",
        "latent",
        "The codes against the prior",
        "Left, the codes of all rows together (the aggregate posterior, blue) should look like the prior (dark curve): "
        "where blue is missing, draws from the prior meet a decoder that has learned nothing there. Orange, the "
        "posterior means, is wide where a dimension tells rows apart and a spike at 0 where it does not. Right, how "
        "wide each row's posterior is: near 0 a precise code, at 1 none.",
        draw_codes,
    ),
    Plot(
        "scatter",
        "latent",
        "Rows in the latent code",
        "Every dot is the posterior mean of a validation row, seen along the two directions in which the codes vary "
        "most. Dots should fill the dashed circles without large holes. The labels were never trained on: where they "
        "form groups, the code has found them by itself.",
        draw_scatter,
        lambda subject: subject.latent_dim >= 2 and subject.num_rows > 2,
    ),
)
