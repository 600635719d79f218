"""Rows that are images: what the model keeps of them, and what it makes by itself."""

from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.reporting.figures.plot import Plot
from vae_lightning.reporting.figures.statistics import space_evenly
from vae_lightning.reporting.figures.style import WIDTH, create_figure
from vae_lightning.reporting.figures.subject import Subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAIRS_IN_ROW, BANDS, DRAWS_IN_ROW, MAX_DIMS, MANIFOLD = 14, 3, 8, 10, 20
VALUES = np.linspace(-3, 3, 13)
"""Where a traversal stands."""


def scale_brightness(subject: Subject, rows: np.ndarray) -> np.ndarray:
    """Rows as images from 0, the least value of the real rows, to 1, their greatest; (M, *image_shape).

    Empty cells stay NaN.
    """
    assert subject.image_shape is not None
    low, high = float(np.nanmin(subject.rows)), float(np.nanmax(subject.rows))
    scaled = (rows - low) / ((high - low) or 1.0)
    return scaled.clip(0, 1).reshape(-1, *subject.image_shape)


def tile_images(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Images (M, H, W, ...) in rows of ``columns`` as one image: one artist draws in a fraction of a hundred's time."""
    count = -(-len(images) // columns)
    height, width = images.shape[1:3]
    whole = np.ones((count * (height + gap) - gap, columns * (width + gap) - gap, *images.shape[3:]))
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        whole[top : top + height, left : left + width] = image
    return whole


def choose_rows(subject: Subject) -> np.ndarray:
    """Rows to show, evenly from all labels where there are any."""
    count = min(subject.num_rows, PAIRS_IN_ROW * BANDS)
    order = np.arange(subject.num_rows) if subject.labels is None else np.argsort(subject.labels, kind="stable")
    return order[space_evenly(len(order), count)]


def draw_reconstructions(subject: Subject) -> "Figure":
    """Bands of originals, each above what the decoder makes of its code."""
    which = choose_rows(subject)
    originals, again = (scale_brightness(subject, x[which]) for x in (subject.rows, subject.reconstructions))
    parts = []
    for start in range(0, len(which), PAIRS_IN_ROW):
        band = slice(start, start + PAIRS_IN_ROW)
        blank = np.ones((PAIRS_IN_ROW - len(which[band]), *originals.shape[1:]))
        parts += [originals[band], blank, again[band], blank]
    image = tile_images(np.concatenate(parts), PAIRS_IN_ROW)
    count = 2 * len(parts) // 4
    title = "Does the code keep what matters? Originals above their reconstructions (means)"
    figure = create_figure(WIDTH, (WIDTH - 1.4) * image.shape[0] / image.shape[1] + 0.6, title)
    axes = _show(figure, image)
    axes.set_yticks(_centres(image.shape[0], count), ["original", "reconstruction"] * (count // 2))
    return figure


def draw_draws(subject: Subject) -> "Figure":
    """Images that the model makes up, as means and as draws."""
    means, draws = (
        tile_images(scale_brightness(subject, rows), DRAWS_IN_ROW)
        for rows in subject.sample_with_means(DRAWS_IN_ROW**2)
    )
    title = "Does it make up believable images? The same 64 draws of z"
    figure = create_figure(WIDTH, (WIDTH / 2 - 0.2) * means.shape[0] / means.shape[1] + 0.6, title)
    _show(figure, means, (1, 2, 1)).set_title("means of p(x|z): the smooth core")
    _show(figure, draws, (1, 2, 2)).set_title("draws from p(x|z): what the model claims data look like")
    return figure


def choose_traversals(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """The dimensions to walk along, those in use and one that is not, and the points z of all walks, (M, L)."""
    used, unused = (subject.order[subject.active[subject.order] == is_used] for is_used in (True, False))
    shown = np.concatenate([used[: MAX_DIMS - 1], unused[:1]])
    z = np.zeros((len(shown), len(VALUES), subject.latent_dim))
    for row, index in enumerate(shown):
        z[row, :, index] = VALUES
    return shown, z.reshape(-1, subject.latent_dim)


def draw_traversals(subject: Subject) -> "Figure":
    """One dimension at a time from -3 to 3, all others at 0."""
    shown, z = choose_traversals(subject)
    image = tile_images(scale_brightness(subject, subject.decode(z)), len(VALUES))
    left = f" ({len(shown)} of {subject.latent_dim} shown)" if subject.latent_dim > len(shown) else ""
    title = f"What does each dimension change? One moves, the others stay at 0{left}"
    figure = create_figure(WIDTH, (WIDTH - 1.4) * image.shape[0] / image.shape[1] + 1.0, title)
    axes = _show(figure, image)
    axes.set_xticks(_centres(image.shape[1], len(VALUES))[::2], [f"{value:g}" for value in VALUES[::2]])
    axes.set_yticks(_centres(image.shape[0], len(shown)), [f"z{i}  {subject.kl[i]:.2f} nats" for i in shown])
    axes.set_xlabel("value of the dimension; means of p(x|z)")
    return figure


def make_manifold(subject: Subject) -> np.ndarray:
    """A grid through the quantiles of the prior's draws in both dimensions, (M, 2); top row first."""
    across, up = np.quantile(subject.prior_draws, (np.arange(MANIFOLD) + 0.5) / MANIFOLD, axis=0).T
    return np.stack(np.meshgrid(across, up[::-1]), axis=-1).reshape(-1, 2)


def draw_manifold(subject: Subject) -> "Figure":
    """The whole plane of a two-dimensional code, decoded."""
    grid = make_manifold(subject)
    image = tile_images(scale_brightness(subject, subject.decode(grid)), MANIFOLD)
    title = "The whole code, decoded: neighbours should look alike"
    figure = create_figure(7, 6.2 * image.shape[0] / image.shape[1] + 0.9, title)
    axes, cells = _show(figure, image), [0, 5, 14, 19]
    across, down = grid[cells, 0], grid[::MANIFOLD, 1][cells]
    axes.set_xticks(_centres(image.shape[1], MANIFOLD)[cells], [f"{value:.1f}" for value in across])
    axes.set_yticks(_centres(image.shape[0], MANIFOLD)[cells], [f"{value:.1f}" for value in down])
    axes.set(xlabel="z0, at quantiles of the prior", ylabel="z1, at quantiles of the prior")
    return figure


def _show(figure: "Figure", image: np.ndarray, place: tuple[int, int, int] = (1, 1, 1)) -> "Axes":
    axes = figure.add_subplot(*place, xticks=[], yticks=[])
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return axes


def _centres(size: int, count: int) -> np.ndarray:
    """The pixels in the middle of ``count`` tiles."""
    return (np.arange(count) + 0.5) * size / count - 0.5


def _is_image(subject: Subject) -> bool:
    return subject.image_shape is not None


PLOTS = (
    Plot(
        "reconstructions",
        "images",
        "Originals and reconstructions",
        "Upper rows are validation images, below each what the decoder makes of its code (the mean of p(x|z)). "
        "Blurred details are what the code has no room for; where all reconstructions look alike, the code carries "
        "nothing.",
        draw_reconstructions,
        _is_image,
    ),
    Plot(
        "draws",
        "images",
        "Images drawn",
        "Images that the model makes up, from codes drawn as for new rows. The means should look like data, only "
        "smoother. The draws are what the likelihood claims data look like, pixel noise included: where they look "
        "worse than the data, the likelihood's noise is not the data's.",
        draw_draws,
        _is_image,
    ),
    Plot(
        "traversals",
        "images",
        "What each dimension changes",
        "Each row moves one latent dimension from -3 to 3 and leaves the others at 0: all that are in use, up to nine, "
        "and one that is not, which changes nothing. A row that changes smoothly from one look to another has a "
        "meaning.",
        draw_traversals,
        _is_image,
    ),
    Plot(
        "manifold",
        "images",
        "The whole two-dimensional code",
        "The plane of both latent dimensions, in steps of equal probability under the prior. Neighbours should change "
        "smoothly into each other; a blurred patch is a place where no data were put.",
        draw_manifold,
        lambda subject: _is_image(subject) and subject.latent_dim == 2,
    ),
)
