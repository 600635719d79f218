"""The importance-weighted bound against scipy, and against a model whose log p(x) is known."""

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.special
import torch

from tests.objectives.passes import LinearGaussian, random_terms
from vae_lightning.objectives.base import Weights
from vae_lightning.objectives.elbo import elbo
from vae_lightning.objectives.iwae import IWAE, iwae


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_it_is_the_log_of_the_mean_weight(scale: float) -> None:
    terms = random_terms(scale=scale)
    weights = (terms.log_px.sum(-1) + terms.log_pz - terms.log_qz).double().numpy()
    np.testing.assert_allclose(iwae(terms).numpy(), scipy.special.logsumexp(weights, 0) - math.log(5), rtol=1e-5)


def test_of_one_draw_it_is_the_log_weight_and_in_expectation_the_elbo() -> None:
    terms = random_terms(draws=1)
    torch.testing.assert_close(iwae(terms), (terms.log_px.sum(-1) + terms.log_pz - terms.log_qz)[0])
    truth = LinearGaussian()
    passes = truth.passes(1, 20_000)
    difference, error = truth.means(iwae(passes) - elbo(passes))
    assert (np.abs(difference) < 5 * error).all()


def test_it_is_never_below_the_mean_log_weight() -> None:
    terms = random_terms(draws=20)
    assert (iwae(terms) >= (terms.log_px.sum(-1) + terms.log_pz - terms.log_qz).mean(0)).all()


def test_it_rises_with_the_number_of_draws_from_the_elbo_to_log_p() -> None:
    """ELBO = L_1 < L_2 < L_8 < L_64 < log p(x) (Burda et al. 2015, theorem 1), for every row."""
    truth = LinearGaussian()
    bounds = [truth.means(elbo(truth.passes(1, 4000)))]
    bounds += [truth.means(iwae(truth.passes(k, 128_000 // k))) for k in (2, 8, 64)]
    for (lower, one), (higher, other) in pairwise(bounds):
        assert (higher > lower + 3 * np.hypot(one, other)).all(), "the model must have a gap for this to say anything"
    highest, error = bounds[-1]
    assert (highest < truth.log_px + 5 * error).all()
    nearly, error = truth.means(iwae(truth.passes(1024, 100)))
    assert (np.abs(nearly - truth.log_px) < 0.02 + 5 * error).all()


def test_nothing_in_it_is_weighted() -> None:
    terms = random_terms()
    for beta in (0.0, 7.0):
        torch.testing.assert_close(IWAE()(terms, Weights(beta)), iwae(terms))


@pytest.mark.parametrize("missing", ["log_pz", "log_qz"])
def test_terms_without_densities_are_refused(missing: str) -> None:
    with pytest.raises(ValueError, match="must hold log_pz and log_qz"):
        iwae(dataclasses.replace(random_terms(), **{missing: None}))
