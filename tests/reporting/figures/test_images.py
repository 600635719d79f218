"""Pixels of the pictures are values of the rows."""

import numpy as np
import pytest
import scipy.stats
import torch

from tests.reporting.conftest import words
from vae_lightning.reporting.figures import images
from vae_lightning.reporting.figures.subject import Subject


def tiles(image: np.ndarray, shape: tuple[int, int], columns: int) -> np.ndarray:
    """A mosaic taken apart again."""
    rows = (image.shape[0] + 1) // (shape[0] + 1)
    return np.stack(
        [
            image[r * (shape[0] + 1) :, c * (shape[1] + 1) :][: shape[0], : shape[1]]
            for r in range(rows)
            for c in range(columns)
        ]
    )


def shown(axes) -> np.ndarray:
    (image,) = axes.images
    return np.asarray(image.get_array())


def test_originals_stand_above_their_reconstructions(digits: Subject) -> None:
    figure = images.draw_reconstructions(digits)
    parts = tiles(shown(figure.axes[0]), (8, 8), images.PAIRS_IN_ROW).reshape(3, 2, images.PAIRS_IN_ROW, 64)
    which = images.choose_rows(digits).reshape(3, images.PAIRS_IN_ROW)
    truth = digits.model.scaling.inverse(digits.batch.x).numpy()
    again = digits.model.reconstruct(truth)
    np.testing.assert_allclose(parts[:, 0], truth[which] / 16, atol=1e-6)
    np.testing.assert_allclose(parts[:, 1], again[which] / 16, atol=1e-5)
    assert digits.labels is not None
    assert len(set(digits.labels[which.ravel()])) == 10


def test_images_drawn_are_draws_and_their_means(digits: Subject) -> None:
    means, draws = (tiles(shown(axes), (8, 8), 8) for axes in images.draw_draws(digits).axes)
    assert set(np.unique(draws)) == {0, 1}  # Bernoulli
    assert len(np.unique(means)) > 1000
    z = np.abs(draws.mean() - means.mean()) / np.sqrt((means * (1 - means)).sum()) * means.size
    assert z < 5


def test_a_traversal_moves_one_dimension_and_decodes(digits: Subject) -> None:
    order, z = images.choose_traversals(digits)
    z = z.reshape(len(order), len(images.VALUES), 5)
    for row, index in enumerate(order):
        np.testing.assert_array_equal(z[row, :, index], np.linspace(-3, 3, 13))
        assert not np.delete(z[row], index, axis=1).any()
    parts = tiles(shown(images.draw_traversals(digits).axes[0]), (8, 8), 13)
    with torch.no_grad():
        truth = digits.model.vae.decode(torch.from_numpy(z.reshape(-1, 5)).float()).mean.numpy()
    np.testing.assert_allclose(parts.reshape(-1, 64), truth, atol=1e-5)


def test_unused_dimensions_are_walked_once(digits: Subject) -> None:
    from dataclasses import replace

    subject = replace(digits)
    subject.__dict__["active"] = np.array([False, True, False, True, False])
    order, _ = images.choose_traversals(subject)
    assert set(order[:2]) == {1, 3}
    assert len(order) == 3


def test_the_manifold_stands_at_quantiles_of_the_prior(plane: Subject) -> None:
    grid = images.make_manifold(plane).reshape(20, 20, 2)
    quantiles = scipy.stats.norm.ppf((np.arange(20) + 0.5) / 20)
    np.testing.assert_allclose(grid[0, :, 0], quantiles, atol=0.06)
    np.testing.assert_allclose(grid[:, 0, 1], quantiles[::-1], atol=0.06)
    parts = tiles(shown(images.draw_manifold(plane).axes[0]), (8, 8), 20)
    with torch.no_grad():
        truth = plane.model.vae.decode(torch.from_numpy(grid[0, 3, None]).float()).mean
    np.testing.assert_allclose(parts[3].ravel(), truth.numpy()[0], atol=1e-5)


def test_a_mosaic_keeps_every_image_and_colours() -> None:
    colored = np.random.default_rng(0).random((5, 2, 3, 3))
    whole = images.tile_images(colored, 2)
    assert whole.shape == (8, 7, 3)
    np.testing.assert_array_equal(whole[3:5, 4:7], colored[3])
    assert (whole[6:8, 4:7] == 1).all()  # nothing there


@pytest.mark.parametrize("draw", [images.draw_reconstructions, images.draw_draws, images.draw_traversals])
def test_what_is_a_mean_says_so(digits: Subject, draw) -> None:
    assert "means" in words(draw(digits))
