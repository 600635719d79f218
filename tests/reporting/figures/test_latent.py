"""What the pictures of the code show is what the model says of its rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection, PolyCollection
from sklearn.decomposition import PCA
from tests.figures.conftest import words

from vae_lightning.reporting.figures import latent
from vae_lightning.reporting.figures.base import BLUE, GREY, Subject


def closed_form_kl(subject: Subject) -> np.ndarray:
    """Of each dimension, from the textbook."""
    with torch.no_grad():
        loc, log_var = (part.double().numpy() for part in subject.model.vae.encode(subject.u))
    return 0.5 * (loc**2 + np.exp(log_var) - log_var - 1).mean(0)


def test_bars_are_the_mean_kl_largest_first(digits: Subject) -> None:
    figure = latent.kl(digits)
    (axes,) = figure.axes
    expected = np.sort(closed_form_kl(digits))[::-1]
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], expected, rtol=1e-5)
    assert f"{expected.sum():.2f} nats per row" in words(figure)


def test_dimensions_that_do_not_tell_rows_apart_are_grey(digits: Subject) -> None:
    from matplotlib.colors import to_hex

    means = digits.means.copy()
    means[:, 1:] = 0.3
    subject = replace(digits)
    subject.__dict__["means"] = means  # as if the encoder had collapsed
    figure = latent.kl(subject)
    colors = dict(
        zip(digits.order, [to_hex(bar.get_facecolor()).upper() for bar in figure.axes[0].patches], strict=True)
    )
    assert colors == {0: BLUE, **dict.fromkeys(range(1, 5), GREY)}
    assert "1 of 5 latent dimensions are in use" in words(figure)


def test_ridges_are_densities_of_the_codes(digits: Subject) -> None:
    figure = latent.codes(digits)
    means, _ = figure.axes
    blue, orange = (c for c in means.collections if isinstance(c, PolyCollection))
    top_path = orange.get_paths()[0].vertices
    heights = np.maximum.reduceat(top_path[1:-1, 1], np.arange(0, len(top_path) - 2, 2))[: len(latent.BINS) - 1] - 4
    truth, _ = np.histogram(digits.means[:, digits.order[0]], latent.BINS, density=True)
    np.testing.assert_allclose(heights, np.minimum(0.7 * truth / latent.PEAK, 0.97), atol=1e-9)
    assert len(blue.get_paths()) == len(orange.get_paths()) == 5
    assert len(means.lines) == 5


def test_the_aggregate_posterior_has_its_mean_and_variance(digits: Subject) -> None:
    draws = latent.aggregate_draws(digits)
    variance = digits.means.var(0) + (digits.stds**2).mean(0)  # the law of total variance
    np.testing.assert_allclose(draws.mean(0), digits.means.mean(0), atol=0.08)
    np.testing.assert_allclose(draws.var(0), variance, rtol=0.12)


def test_scatter_shows_the_principal_components(digits: Subject) -> None:
    points, shares = latent.principal(digits.means)
    pca = PCA(2).fit(digits.means)
    np.testing.assert_allclose(shares, pca.explained_variance_ratio_, rtol=1e-6)
    np.testing.assert_allclose(np.abs(points), np.abs(digits.means @ pca.components_.T), atol=1e-6)
    figure = latent.scatter(digits)
    (dots,) = (c for c in figure.axes[0].collections if isinstance(c, PathCollection))
    np.testing.assert_allclose(dots.get_offsets(), points)
    assert f"{shares[0]:.0%} of the codes' variance" in words(figure)


def test_scatter_of_two_dimensions_is_the_code_itself(plane: Subject) -> None:
    (dots,) = (c for c in latent.scatter(plane).axes[0].collections if isinstance(c, PathCollection))
    np.testing.assert_allclose(dots.get_offsets(), plane.means)


def test_equal_labels_have_equal_colours(digits: Subject) -> None:
    colors, meaning = latent._colored(digits.labels, len(digits.u))
    assert digits.labels is not None
    assert list(meaning) == [str(digit) for digit in range(10)]
    assert len(set(meaning.values())) == 10
    assert [meaning[str(label)] for label in digits.labels] == colors


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.linspace(0, 8, 30), ["label 0", "label 2", "label 4", "label 6", "label 8"]),
        (np.array([f"n{i % 15}" for i in range(30)] + ["n0"]), None),
        (np.array([True, False] * 5), ["False", "True"]),
    ],
    ids=["numbers", "many names", "truth values"],
)
def test_labels_of_every_sort_have_a_key(labels: np.ndarray, expected: list[str] | None) -> None:
    colors, meaning = latent._colored(labels, len(labels))
    assert len(colors) == len(labels)
    assert set(colors) <= set(meaning.values()) | set(colors[1:-1])
    if expected is None:
        assert len(meaning) == latent.MAX_CLASSES + 1
        assert "all others" in meaning
    else:
        assert list(meaning) == expected
