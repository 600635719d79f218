"""Rows that are images: what the model keeps of them, and what it makes by itself."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from vae_lightning.reporting.figures.base import Kind, Subject, Ticks, add_axes, add_row, dress, headed, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAIRS_IN_ROW, BANDS, DRAWS_IN_ROW, MAX_DIMS, MANIFOLD = 14, 3, 8, 10, 20
VALUES = np.linspace(-3, 3, 13)
"""Where a traversal stands, in standard deviations of the prior."""


def brightness(subject: Subject, rows: np.ndarray) -> np.ndarray:
    """Rows as images from 0, the least value of the real rows, to 1, their greatest; (M, *image_shape)."""
    assert subject.image_shape is not None
    low, high = float(subject.rows.min()), float(subject.rows.max())
    scaled = (rows - low) / ((high - low) or 1.0)
    return scaled.clip(0, 1).reshape(-1, *subject.image_shape)


def mosaic(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Images (M, H, W, ...) in rows of ``columns`` as one image: one artist draws in a fraction of a hundred's time."""
    count = -(-len(images) // columns)
    height, width = images.shape[1:3]
    whole = np.ones((count * (height + gap) - gap, columns * (width + gap) - gap, *images.shape[3:]))
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        whole[top : top + height, left : left + width] = image
    return whole


def _show(axes: "Axes", image: np.ndarray) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def chosen(subject: Subject) -> np.ndarray:
    """Rows to show, evenly from all labels where there are any."""
    count = min(subject.batch.num_rows, PAIRS_IN_ROW * BANDS)
    order = np.arange(subject.batch.num_rows) if subject.labels is None else np.argsort(subject.labels, kind="stable")
    return order[np.linspace(0, len(order) - 1, count).round().astype(int)]


def reconstructions(subject: Subject) -> "Figure":
    """Bands of originals, each above what the decoder makes of its code."""
    which = chosen(subject)
    originals, again = (brightness(subject, x[which]) for x in (subject.rows, subject.reconstructions))
    parts = []
    for start in range(0, len(which), PAIRS_IN_ROW):
        band = slice(start, start + PAIRS_IN_ROW)
        blank = np.ones((PAIRS_IN_ROW - len(which[band]), *originals.shape[1:]))
        parts += [originals[band], blank, again[band], blank]
    image = mosaic(np.concatenate(parts), PAIRS_IN_ROW)
    bands = -(-len(which) // PAIRS_IN_ROW)
    width = 9.0
    height = (width - 1.4) * image.shape[0] / image.shape[1] + 0.65
    figure = new_figure(width, height, "Does the code keep what matters? Originals above their reconstructions (means)")
    axes = add_axes(figure, 1.2, 0.1, 0.2, 0.55)
    _show(axes, image)
    middles = (np.arange(2 * bands) + 0.5) * image.shape[0] / (2 * bands) - 0.5
    dress(axes, y=Ticks(middles, ["original", "reconstruction"] * bands, lined=False))
    return figure


def prior_draws(subject: Subject) -> "Figure":
    """Images that the model makes up, as means and as draws."""
    means, draws = subject.from_prior(DRAWS_IN_ROW**2)
    shape = mosaic(brightness(subject, means), DRAWS_IN_ROW).shape
    height = 4.2 * shape[0] / shape[1] + 0.85
    figure = new_figure(9, height, "Does it make up believable images? The same 64 draws of z from the prior")
    titles = ("means of p(x|z): the smooth core", "draws from p(x|z): what the model claims data look like")
    for axes, rows, title in zip(add_row(figure, 2, 0.1, 0.75, left=0.2, gap=0.2), (means, draws), titles, strict=True):
        _show(axes, mosaic(brightness(subject, rows), DRAWS_IN_ROW))
        headed(axes, title)
    return figure


def traversal_points(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """The dimensions to walk along, those in use and one that is not, and the points z of all walks, (M, L)."""
    used, unused = (subject.order[subject.active[subject.order] == is_used] for is_used in (True, False))
    shown = np.concatenate([used[: MAX_DIMS - 1], unused[:1]])
    z = np.zeros((len(shown), len(VALUES), subject.latent_dim))
    for row, index in enumerate(shown):
        z[row, :, index] = VALUES
    return shown, z.reshape(-1, subject.latent_dim)


def traversals(subject: Subject) -> "Figure":
    """One dimension at a time from -3 to 3, all others at 0."""
    shown, z = traversal_points(subject)
    image = mosaic(brightness(subject, subject.decoded(z)), len(VALUES))
    width = 8.0
    height = (width - 1.5) * image.shape[0] / image.shape[1] + 1.1
    left = f" ({len(shown)} of {subject.latent_dim} shown)" if subject.latent_dim > len(shown) else ""
    figure = new_figure(width, height, f"What does each dimension change? One moves, the others stay at 0{left}")
    axes = add_axes(figure, 1.3, 0.55, 0.2, 0.55)
    _show(axes, image)
    rows, columns = (
        (np.arange(count) + 0.5) * size / count - 0.5
        for count, size in zip((len(shown), len(VALUES)), image.shape[:2], strict=True)
    )
    across = "value of the dimension (prior: mean 0, standard deviation 1); means of p(x|z)"
    dress(
        axes,
        Ticks(columns[::2], [f"{value:g}" for value in VALUES[::2]], across, lined=False),
        Ticks(rows, [f"z{index}  {subject.kl[index]:.2f} nats" for index in shown], lined=False),
    )
    return figure


def manifold_points() -> np.ndarray:
    """A grid through the normal quantiles, so that every cell stands for the same share of the prior; top row first."""
    quantiles = torch.special.ndtri((torch.arange(MANIFOLD, dtype=torch.float64) + 0.5) / MANIFOLD).numpy()
    return np.stack(np.meshgrid(quantiles, quantiles[::-1]), axis=-1).reshape(-1, 2)


def manifold(subject: Subject) -> "Figure":
    """The whole plane of a two-dimensional code, decoded."""
    image = mosaic(brightness(subject, subject.decoded(manifold_points())), MANIFOLD)
    figure = new_figure(
        7, 6 * image.shape[0] / image.shape[1] + 1.1, "The whole code, decoded: neighbours should look alike"
    )
    axes = add_axes(figure, 0.8, 0.6, 0.2, 0.5)
    _show(axes, image)
    quantiles = manifold_points()[:MANIFOLD, 0]
    sides = zip((image.shape[1], image.shape[0]), (quantiles, quantiles[::-1]), ("z0", "z1"), strict=True)
    dress(axes, *(_quantile_ticks(size, values, name) for size, values, name in sides))
    return figure


def _quantile_ticks(size: int, values: np.ndarray, name: str) -> Ticks:
    cells = np.array([0, 5, 14, 19])
    places = (cells + 0.5) * size / MANIFOLD - 0.5
    return Ticks(places, [f"{values[i]:.1f}" for i in cells], f"{name}, at quantiles of the prior", lined=False)


def _is_image(subject: Subject) -> bool:
    return subject.image_shape is not None


KINDS = (
    Kind(
        "reconstructions",
        "images",
        "Originals and reconstructions",
        "Upper rows are validation images, below each what the decoder makes of its code (the mean of p(x|z)). "
        "Blurred details are what the code has no room for; where all reconstructions look alike, the code carries "
        "nothing.",
        reconstructions,
        _is_image,
    ),
    Kind(
        "prior_draws",
        "images",
        "Images from the prior",
        "Images that the model makes up from random codes. The means should look like data, only smoother. The draws "
        "are what the likelihood claims data look like, pixel noise included: where they look worse than the data, "
        "the likelihood's noise is not the data's.",
        prior_draws,
        _is_image,
    ),
    Kind(
        "traversals",
        "images",
        "What each dimension changes",
        "Each row moves one latent dimension from -3 to 3 and leaves the others at 0: all that are in use, up to nine, "
        "and one that is not, which changes nothing. A row that changes smoothly from one look to another has a "
        "meaning.",
        traversals,
        _is_image,
    ),
    Kind(
        "manifold",
        "images",
        "The whole two-dimensional code",
        "The plane of both latent dimensions, in steps of equal probability under the prior. Neighbours should change "
        "smoothly into each other; a blurred patch is a place where no data were put.",
        manifold,
        lambda subject: _is_image(subject) and subject.latent_dim == 2,
    ),
)
