"""The ELBO and its warm-up against closed forms in numpy."""

import numpy as np
import pytest
import torch

from tests.objectives.passes import LinearGaussian, random_terms
from vae_lightning.data.batch import Batch
from vae_lightning.errors import ConfigError
from vae_lightning.objectives.base import Weights
from vae_lightning.objectives.elbo import ELBO, elbo


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 4.0])
def test_elbo_is_the_mean_log_likelihood_minus_beta_kl(beta: float) -> None:
    terms = random_terms()
    truth = terms.log_px.numpy().sum(-1).mean(0) - beta * terms.kl.numpy().sum(1)
    np.testing.assert_allclose(elbo(terms, beta).numpy(), truth, rtol=1e-5)


def test_its_negative_at_beta_one_is_the_nelbo_of_the_pass() -> None:
    terms = random_terms(densities=False)
    torch.testing.assert_close(-elbo(terms), terms.nelbo)
    torch.testing.assert_close(terms.nelbo, terms.reconstruction + terms.kl.sum(-1))


def test_the_configured_objective_is_the_pure_function() -> None:
    terms = random_terms()
    torch.testing.assert_close(ELBO(beta=3.0)(terms, Weights(0.25)), elbo(terms, 0.25))


def test_its_gap_is_the_divergence_from_the_true_posterior() -> None:
    """log p(x) - E[ELBO] = KL(q ‖ p(z|x)), here of normals in closed form."""
    truth = LinearGaussian()
    mean, error = truth.means(elbo(truth.passes(1, 20_000)))
    weight = truth.vae.output.weight.detach().numpy()
    precision = weight.T @ weight / 0.64 + np.eye(2)
    covariance = np.linalg.inv(precision)
    with torch.no_grad():
        q = truth.vae.encode(Batch(truth.x))
    residual = truth.x.numpy() - truth.vae.output.bias.detach().numpy()
    away = residual @ weight @ covariance / 0.64 - q.mean.numpy()
    variance = q.stddev.numpy() ** 2
    quadratic = np.einsum("bi,ij,bj->b", away, precision, away)
    trace = variance @ np.diag(precision)
    gap = 0.5 * (trace + quadratic - 2 - np.log(variance).sum(-1) - np.linalg.slogdet(precision)[1])
    assert (np.abs(truth.log_px - mean - gap) < 5 * error).all()


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
    assert [objective.weights_at(epoch).beta for epoch in (0, 2, 4, 6)] == pytest.approx(betas, abs=1e-12)


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
