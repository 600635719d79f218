"""What the pictures of the code show is what the model says of its rows."""

import copy
from dataclasses import replace

import numpy as np
import torch
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba

from tests.reporting.conftest import words
from vae_lightning.priors.mixture import Mixture
from vae_lightning.reporting.figures import latent
from vae_lightning.reporting.figures.statistics import compute_principal_axes
from vae_lightning.reporting.figures.style import BLUE, GREY
from vae_lightning.reporting.figures.subject import Subject


def closed_form_kl(subject: Subject) -> np.ndarray:
    """Of each dimension, from the textbook."""
    with torch.no_grad():
        posterior = subject.model.vae.encode(subject.batch)
        loc, log_var = posterior.mean.double().numpy(), 2 * posterior.stddev.double().log().numpy()
    return 0.5 * (loc**2 + np.exp(log_var) - log_var - 1).mean(0)


def test_bars_are_the_mean_kl_largest_first(digits: Subject) -> None:
    figure = latent.draw_kl(digits)
    (axes,) = figure.axes
    expected = np.sort(closed_form_kl(digits))[::-1]
    bars = sorted(axes.patches, key=lambda bar: bar.get_x())
    np.testing.assert_allclose([bar.get_height() for bar in bars], expected, rtol=1e-5)
    assert f"{expected.sum():.2f} nats per row" in words(figure)


def test_dimensions_that_do_not_tell_rows_apart_are_grey(digits: Subject) -> None:
    from matplotlib.colors import to_hex

    means = digits.means.copy()
    means[:, 1:] = 0.3
    subject = replace(digits)
    subject.__dict__["means"] = means  # as if the encoder had collapsed
    figure = latent.draw_kl(subject)
    bars = sorted(figure.axes[0].patches, key=lambda bar: bar.get_x())
    colors = dict(zip(digits.order, [to_hex(bar.get_facecolor()).upper() for bar in bars], strict=True))
    assert colors == {0: BLUE, **dict.fromkeys(range(1, 5), GREY)}
    assert "1 of 5 latent dimensions are in use" in words(figure)


def test_ridges_are_densities_of_the_codes(digits: Subject) -> None:
    codes, widths = latent.draw_codes(digits).axes
    last, first = digits.order[-1], digits.order[0]  # the largest KL on top
    for base, index in ((0, last), (4, first)):
        draws, means, prior = codes.patches[3 * base : 3 * base + 3]
        for patch, values in ((draws, digits.aggregate_posterior), (means, digits.means)):
            held = np.clip(values[:, index], -latent.REACH, latent.REACH)
            truth, _ = np.histogram(held, latent.BINS, density=True)
            np.testing.assert_allclose(patch.get_data().values, base + np.minimum(0.7 * truth / latent.PEAK, 0.97))
            assert patch.get_data().baseline == base
        truth, _ = np.histogram(digits.stds[:, index], latent.STD_BINS)
        np.testing.assert_allclose(widths.patches[base].get_data().values, base + 0.7 * truth / truth.max())
        middle = (latent.BINS[1:] + latent.BINS[:-1]) / 2
        np.testing.assert_allclose(prior.get_data().values, base + 0.7 * np.exp(-0.5 * middle**2), atol=0.06)
    assert len(codes.patches) == 15
    assert codes.get_yticklabels()[-1].get_text() == f"z{first}  {digits.kl[first]:.2f} nats"


def test_the_aggregate_posterior_has_its_mean_and_variance(digits: Subject) -> None:
    draws = digits.aggregate_posterior
    variance = digits.means.var(0) + (digits.stds**2).mean(0)  # the law of total variance
    np.testing.assert_allclose(draws.mean(0), digits.means.mean(0), atol=0.08)
    np.testing.assert_allclose(draws.var(0), variance, rtol=0.12)


def test_scatter_shows_the_principal_components(digits: Subject) -> None:
    plane, shares = compute_principal_axes(digits.means)
    figure = latent.draw_scatter(digits)
    (dots,) = (c for c in figure.axes[0].collections if isinstance(c, PathCollection))
    np.testing.assert_allclose(dots.get_offsets(), digits.means @ plane.T)
    assert f"{shares[0]:.0%} of the codes' variance" in words(figure)
    for ellipse, diameter in zip(figure.axes[0].patches, (2, 4), strict=True):
        np.testing.assert_allclose([ellipse.width, ellipse.height], diameter, rtol=0.03)
        np.testing.assert_allclose(ellipse.center, 0, atol=0.03)


def test_a_learned_prior_is_shown_as_it_is(digits: Subject) -> None:
    """Two clouds far from N(0, 1): the dark curve has two hills, the ellipses are long, and the bars say to what."""
    subject = replace(digits, model=copy.deepcopy(digits.model))
    prior = Mixture(5, num_components=2)
    prior.means.data.copy_(torch.tensor([[-2.0] * 5, [2.0] * 5]))
    prior.raw_log_vars.data.fill_(-2.0)
    subject.model.vae.prior = prior
    codes, _ = latent.draw_codes(subject).axes
    heights = codes.patches[2].get_data().values
    middle = (latent.BINS[1:] + latent.BINS[:-1]) / 2
    assert heights[np.abs(middle) < 0.5].max() < 0.1 * heights[np.abs(middle - 2) < 0.3].min()
    ellipse = latent.draw_scatter(subject).axes[0].patches[0]
    assert max(ellipse.width, ellipse.height) > 1.5 * 2
    told = words(latent.draw_kl(subject))
    assert "KL to N(0, 1)" in told
    assert "in all" not in told


def test_scatter_of_two_dimensions_is_the_code_itself(plane: Subject) -> None:
    (dots,) = (c for c in latent.draw_scatter(plane).axes[0].collections if isinstance(c, PathCollection))
    np.testing.assert_allclose(dots.get_offsets(), plane.means)


def test_equal_labels_have_equal_colours_and_the_legend_says_which(digits: Subject) -> None:
    figure = latent.draw_scatter(digits)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [str(digit) for digit in range(10)]
    (dots,) = (c for c in figure.axes[0].collections if isinstance(c, PathCollection))
    dots.update_scalarmappable()
    told = [to_rgba(handle.get_color(), 0.8) for handle in legend.legend_handles]
    assert len(set(told)) == 10
    np.testing.assert_allclose(dots.get_facecolors(), np.array(told)[np.asarray(digits.labels, int)])


def test_rare_classes_share_a_colour() -> None:
    labels = np.array([f"n{i % 15}" for i in range(30)] + ["n0"])
    classes, names, colors = latent.color_classes(labels)
    assert len(names) == len(colors) == latent.MAX_CLASSES + 1
    assert len(set(colors)) == len(colors)
    assert names[-1] == "all others"
    for label, number in zip(labels, classes, strict=True):
        assert names[number] in (label, "all others")
    assert (classes == latent.MAX_CLASSES).sum() == 6


def test_numbers_have_a_colour_bar(plane: Subject) -> None:
    labels = np.linspace(0, 8, plane.num_rows)
    axes, bar = latent.draw_scatter(replace(plane, labels=labels)).axes
    (dots,) = (c for c in axes.collections if isinstance(c, PathCollection))
    np.testing.assert_array_equal(dots.get_array(), labels)
    assert bar.get_ylim() == (0, 8)


def test_truth_values_are_two_classes() -> None:
    assert latent.color_classes(np.array([True, False] * 5))[1] == ["False", "True"]


def test_without_labels_all_dots_are_alike(plane: Subject) -> None:
    figure = latent.draw_scatter(replace(plane, labels=None))
    assert not figure.legends
    assert len(figure.axes) == 1
