"""A loss of which only the whole is at hand."""

import numpy as np
import pytest
import torch

from vae_lightning.doctor import diagnose

BITS = (np.random.default_rng(0).random((60, 12)) < 0.4).astype(float)


def below_zero(x):
    return (x.sum(1) - 20.0).mean() + 0.01 * torch.randn((), dtype=x.dtype)


@pytest.mark.parametrize(("likelihood", "found"), [("bernoulli", ("BELOW-FLOOR",)), ("gaussian", ()), (None, ())])
def test_negative_loss_is_judged_by_the_likelihood_meant(likelihood: str | None, found: tuple[str, ...]) -> None:
    report = diagnose(loss=below_zero, data=BITS, likelihood=likelihood)
    assert report.codes == found
    assert "BELOW-FLOOR" in {finding.code for finding in report}


def test_data_that_cross_entropy_cannot_take() -> None:
    report = diagnose(loss=lambda x: (x**2).mean(), data=3 * BITS, likelihood="bernoulli")
    assert "BCE-RANGE" in report.codes


def test_without_rows_nothing_is_judged() -> None:
    report = diagnose(loss=lambda x: x.mean())
    assert report.ok
    assert report.exit_status == 2
    assert "NOTHING" in {finding.code for finding in report.unjudged}


def test_nan_on_the_rows_themselves() -> None:
    assert diagnose(loss=lambda x: (x - 0.5).log().mean(), data=BITS).codes == ("NOT-FINITE",)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda x: (x**2).sum(1).mean() + 3, "averaged over rows"),
        (lambda x: (x**2).sum() + 0 * x.mean(), "summed over rows"),
        (lambda x: (x**2).sum(1) + 1, "per row"),
    ],
)
def test_reduction_over_rows_is_read_off(loss, words: str) -> None:
    assert any(words in finding.says for finding in diagnose(loss=loss, data=BITS))


def test_loss_too_noisy_to_tell() -> None:
    report = diagnose(loss=lambda x: 0.1 * x.mean() + torch.randn((), dtype=x.dtype), data=BITS)
    assert any("too noisy" in finding.says for finding in report.unjudged)
