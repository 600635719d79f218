"""Logarithms of probabilities against NumPy's, in single precision and over all magnitudes that a family reaches."""

import numpy as np
import torch
from scipy.special import log_expit

from vae_lightning.likelihoods.logarithms import log_one_minus_exp, log_sigmoid


def test_log_sigmoid_loses_nothing_at_either_end() -> None:
    logit = torch.linspace(-1e4, 1e4, 4001)
    np.testing.assert_allclose(log_sigmoid(logit).numpy(), log_expit(logit.double().numpy()), rtol=1e-6, atol=1e-7)


def test_the_logarithm_of_one_minus_an_exponential_keeps_small_gaps_and_never_passes_0() -> None:
    gap = torch.logspace(-7, 4, 2001).requires_grad_()
    found = log_one_minus_exp(gap)
    (slope,) = torch.autograd.grad(found.sum(), gap)
    exact = gap.detach().double().numpy()
    np.testing.assert_allclose(found.detach().numpy(), np.log(-np.expm1(-exact)), rtol=1e-6, atol=2e-7)
    np.testing.assert_allclose(slope.numpy(), np.exp(-exact) / -np.expm1(-exact), rtol=1e-4, atol=1e-6)
    assert (found <= 0).all()
