"""Bounds per row against closed forms in numpy."""

import math

import numpy as np
import pytest
import scipy.special
import torch

from vae_lightning.errors import ConfigError
from vae_lightning.objectives.elbo import ELBO, Terms, elbo, iwae


def random_terms(draws: int = 5, rows: int = 7, latents: int = 3, scale: float = 1.0) -> Terms:
    return Terms(
        scale * torch.randn(draws, rows) - 3 * scale,
        torch.rand(rows, latents),
        scale * torch.randn(draws, rows),
        scale * torch.randn(draws, rows),
    )


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 4.0])
def test_elbo_is_the_mean_log_likelihood_minus_beta_kl(beta: float) -> None:
    terms = random_terms()
    truth = terms.log_px.numpy().mean(0) - beta * terms.kl.numpy().sum(1)
    np.testing.assert_allclose(elbo(terms, beta).numpy(), truth, rtol=1e-5)


def test_elbo_needs_no_densities() -> None:
    assert elbo(Terms(torch.zeros(1, 2), torch.ones(2, 3))).tolist() == [-3.0, -3.0]


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_iwae_is_the_log_of_the_mean_weight(scale: float) -> None:
    terms = random_terms(scale=scale)
    weights = (terms.log_px + terms.log_pz - terms.log_qz).double().numpy()
    np.testing.assert_allclose(iwae(terms).numpy(), scipy.special.logsumexp(weights, 0) - math.log(5), rtol=1e-5)


def test_iwae_of_one_draw_is_its_log_weight() -> None:
    terms = random_terms(draws=1)
    torch.testing.assert_close(iwae(terms), (terms.log_px + terms.log_pz - terms.log_qz)[0])


def test_iwae_is_never_below_the_mean_log_weight() -> None:
    terms = random_terms(draws=20)
    assert (iwae(terms) >= (terms.log_px + terms.log_pz - terms.log_qz).mean(0)).all()


@pytest.mark.parametrize("missing", ["log_pz", "log_qz"])
def test_iwae_refuses_terms_without_densities(missing: str) -> None:
    with pytest.raises(ValueError, match="must hold log_pz and log_qz"):
        iwae(random_terms()._replace(**{missing: None}))


@pytest.mark.parametrize(
    ("warmup", "betas"),
    [
        ("none", [2.0, 2.0, 2.0, 2.0]),
        ("linear", [0.0, 1.0, 2.0, 2.0]),
        ("cosine", [0.0, 1.0, 2.0, 2.0]),
        ("cyclical", [0.0, 2.0, 0.0, 2.0]),
    ],
)
def test_beta_warms_up_to_its_final_weight(warmup: str, betas: list[float]) -> None:
    objective = ELBO(beta=2.0, warmup=warmup, warmup_epochs=4)
    assert [objective.beta_at(epoch) for epoch in (0, 2, 4, 6)] == pytest.approx(betas, abs=1e-12)


def test_the_configured_objective_is_the_pure_function() -> None:
    terms = random_terms()
    torch.testing.assert_close(ELBO(beta=3.0)(terms, 0.25), elbo(terms, 0.25))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"beta": -1.0}, "The 'beta' parameter of ELBO must be at least 0 and finite. Got -1.0 instead."),
        ({"num_samples": 0}, "The 'num_samples' parameter of ELBO must be at least 1. Got 0 instead."),
        (
            {"warmup": "ramp"},
            "The 'warmup' parameter of ELBO must be one of none, linear, cosine, cyclical. Got 'ramp' instead.",
        ),
        ({"warmup_epochs": 0}, "The 'warmup_epochs' parameter of ELBO must be positive. Got 0 instead."),
    ],
)
def test_bad_parameters_get_the_one_sentence(settings: dict, sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        ELBO(**settings)
    assert str(error.value) == sentence
