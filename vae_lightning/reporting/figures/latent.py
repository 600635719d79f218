"""The latent code: which dimensions carry information, whether they fill the prior, how rows lie in it."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_lightning.reporting.figures.base import (
    BLUE,
    DARK,
    GREY,
    ORANGE,
    Kind,
    Subject,
    Ticks,
    add_axes,
    dress,
    key,
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
PEAK = 1 / math.sqrt(2 * math.pi)  # of the prior's density
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
    axes = add_axes(figure, 0.8, 0.6, 0.2, 0.5)
    places = np.arange(len(shown))
    axes.bar(places, subject.kl[shown], color=np.where(subject.active[shown], BLUE, GREY).tolist(), width=0.8)
    top = max(1.1 * float(subject.kl.max()), 1e-3)
    axes.set(xlim=(-0.6, len(shown) - 0.4), ylim=(0, top))
    step = math.ceil(len(shown) / 16)
    words = [f"z{index}" for index in shown[::step]]
    dress(
        axes,
        Ticks(places[::step], words, "latent dimension, largest first"),
        Ticks(ticks(0, top), label="KL (nats per row)"),
    )
    key(figure, 5.0, 0.5, {"in use": BLUE, "unused: the same code for every row": GREY}, down=True)
    return figure


def aggregate_draws(subject: Subject) -> np.ndarray:
    """Draws of the aggregate posterior, the mean of q(z|x) over rows: several for each row, (M, L)."""
    count = max(1, POINTS // len(subject.means))
    eps = np.random.default_rng(subject.seed).standard_normal((count, *subject.means.shape))
    return (subject.means + subject.stds * eps).reshape(-1, subject.latent_dim)


def codes(subject: Subject) -> "Figure":
    """One row a dimension: the aggregate posterior against the prior; the posteriors' widths beside it."""
    shown = subject.order[:MAX_RIDGES]
    count, draws = len(shown), aggregate_draws(subject)
    left = f" ({count} largest of {subject.latent_dim})" if subject.latent_dim > count else ""
    figure = new_figure(9, 1.4 + 0.5 * count, f"Do the codes fill the prior? Blue should match the dark curve{left}")
    means, widths = add_axes(figure, 1.2, 0.6, 3.4, 0.75), add_axes(figure, 6.1, 0.6, 0.2, 0.75)
    z = np.linspace(-REACH, REACH, 61)
    base = np.arange(count)[::-1, None]
    drawn, centres = (np.stack([density(x[:, i], BINS) for i in shown]) / PEAK for x in (draws, subject.means))
    spreads = np.stack([density(subject.stds[:, i], STD_BINS) for i in shown])
    _ridges(means, drawn, BINS, BLUE, filled=True)
    _ridges(means, centres, BINS, ORANGE)
    means.plot(z, (base + 0.7 * np.exp(-0.5 * z**2)).T, color=DARK, linewidth=1.2)
    _ridges(widths, spreads / np.maximum(spreads.max(1, keepdims=True), 1e-9), STD_BINS, BLUE, filled=True)
    widths.vlines(1, 0, count, color=DARK, linewidth=1.2)
    means.set(xlim=(-REACH, REACH), ylim=(0, count))
    widths.set(xlim=(0, STD_BINS[-1]), ylim=(0, count))
    labels = [f"z{index}  {subject.kl[index]:.2f} nats" for index in shown]
    dress(
        means,
        Ticks(range(-4, 5, 2), label="z (prior: mean 0, standard deviation 1)"),
        Ticks(base[:, 0] + 0.25, labels, lined=False),
    )
    dress(widths, Ticks((0, 0.5, 1, 1.5), label="standard deviation of q(z|x); 1 is the prior's"))
    key(figure, 1.2, 0.42, {"codes: draws of q(z|x), all rows": BLUE, "their means": ORANGE, "prior": DARK})
    return figure


def density(values: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Histogram heights; what lies beyond the bins counts into the outermost ones."""
    return np.histogram(np.clip(values, bins[0], bins[-1]), bins, density=True)[0]


def _ridges(axes: "Axes", heights: np.ndarray, bins: np.ndarray, color: str, filled: bool = False) -> None:
    """Histograms above each other, the first on top; one artist."""
    from matplotlib.collections import PolyCollection

    # A collapsed dimension's means are a spike of any height: cut where the next row begins.
    tops = np.minimum(0.7 * heights, 0.97) + np.arange(len(heights))[::-1, None]
    x = np.concatenate([bins[:1], np.repeat(bins, 2)[1:-1], bins[-1:]])
    shapes = [
        np.column_stack([x, np.concatenate([[base], np.repeat(top, 2), [base]])])
        for base, top in zip(range(len(heights) - 1, -1, -1), tops, strict=True)
    ]
    outline, area = {"facecolor": "none", "edgecolor": color}, {"facecolor": color, "alpha": 0.45, "linewidth": 0}
    style: Any = area if filled else outline
    axes.add_collection(PolyCollection(shapes, closed=False, **style), autolim=False)


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
        parts = zip(("1st", "2nd"), shares, strict=True)
        names = [f"{number} principal component ({share:.0%} of the codes' variance)" for number, share in parts]
    asked = "do equal labels lie together?" if subject.labels is not None else "do they fill the circles?"
    figure = new_figure(7.4, 5.6, f"Where {len(points):,} validation rows lie in the code: {asked}")
    axes = add_axes(figure, 0.8, 0.6, 1.9, 0.5)
    angle = np.linspace(0, 2 * np.pi, 73)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    axes.plot(*np.stack([circle, 2 * circle], axis=-1), "--", color=GREY, linewidth=1)
    key(figure, 5.6, 0.55, {"39 % and 86 % of the prior": GREY}, down=True)
    _points(axes, points, subject.labels)
    reach = max(2.2, float(np.abs(points).max()) * 1.05)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    dress(axes, *(Ticks(ticks(-reach, reach, 5), label=name) for name in names))
    return figure


def _points(axes: "Axes", points: np.ndarray, labels: np.ndarray | None) -> None:
    from matplotlib.colors import to_rgba_array

    colors, meaning = _colored(labels, len(points))
    x, y = points.T
    axes.scatter(x, y, c=to_rgba_array(colors), s=14, linewidths=0, alpha=0.8)
    key(axes.figure, 5.6, 0.8, meaning, down=True)  # type: ignore[arg-type]


def _colored(labels: np.ndarray | None, num_rows: int) -> tuple[list[str], dict[str, str]]:
    """A colour for each row, and what the colours mean."""
    if labels is None:
        return [BLUE] * num_rows, {}
    names, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if labels.dtype.kind == "f" and len(names) > MAX_CLASSES:
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        low, high = float(names[0]), float(names[-1])
        shades = [to_hex(color) for color in colormaps["viridis"](np.linspace(0, 0.95, 64))]
        meaning = {
            f"label {low + share * (high - low):.3g}": shades[round(share * 63)] for share in (0, 0.25, 0.5, 0.75, 1)
        }
        return [shades[int(i)] for i in (labels - low) / (high - low) * 63], meaning
    kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_CLASSES])
    color_of = dict(zip(kept.tolist(), CLASS_COLORS, strict=False))
    meaning = {short(str(names[index])): color for index, color in color_of.items()}
    if len(kept) < len(names):
        meaning["all others"] = GREY
    return [color_of.get(int(index), GREY) for index in place], meaning


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
        lambda subject: subject.latent_dim >= 2 and subject.batch.num_rows > 2,
    ),
)
