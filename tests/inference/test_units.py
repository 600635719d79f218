"""Law 4 in data units: densities move with the units of their columns, probabilities have none."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything
from scipy import stats

from vae_lightning import load
from vae_lightning.config.build import build
from vae_lightning.data.batch import Batch
from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Rows
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.preprocess.binarize import Binarize
from vae_lightning.data.preprocess.minmax import MinMax
from vae_lightning.data.preprocess.none import Identity
from vae_lightning.data.preprocess.standardize import Standardize
from vae_lightning.inference.model import VAEModel
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.by_column import ByColumn
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.poisson import Poisson
from vae_lightning.model.vae import VAE

MIXED = ByColumn(2, [(Gaussian(1), [1]), (Bernoulli(1), [0])])


@pytest.fixture(scope="module")
def model(gaussian_run: Any) -> VAEModel:
    return load(gaussian_run.run_dir)


@pytest.fixture(scope="module")
def rows(gaussian_run: Any) -> np.ndarray:
    """The test rows of the Gaussian run, data units."""
    seed_everything(0, verbose=False)
    x: np.ndarray = build(gaussian_run.settings).dataset.test.x
    return x


def test_log_prob_agrees_with_the_evaluation(model: VAEModel, rows: np.ndarray, gaussian_run: Any) -> None:
    test = gaussian_run.summary["test"]
    assert -model.log_prob(rows, num_samples=200).mean() == pytest.approx(test["nll"], abs=0.15)
    assert -model.log_prob(rows, num_samples=1).mean() == pytest.approx(test["nelbo"], abs=0.3)


def collapsed(likelihood: Likelihood, scaling: Scaling) -> VAEModel:
    """A model whose posterior is the prior and whose decoder is constant: its log p(x) is known exactly."""
    vae = VAE(likelihood, 1, [])
    torch.nn.init.zeros_(vae.heads.weight)
    return VAEModel(vae, scaling, [Column("a", "float64"), Column("b", "float64")])


def test_log_prob_is_a_density_of_the_data_not_of_the_model_units() -> None:
    x = np.array([[1.0, -300.0], [3.0, 500.0], [2.0, 100.0]])
    scaling = Standardize(2).fit(Rows(x))
    mean, std = x.mean(0), x.std(0)
    expected = -0.5 * (((x - mean) / std) ** 2 + np.log(2 * math.pi * std**2)).sum(1)
    np.testing.assert_allclose(collapsed(Gaussian(2, "fixed"), scaling).log_prob(x, 10), expected, atol=1e-5)


@pytest.mark.parametrize("factors", [(1000.0, 0.001, 2.0, 1.0), (3.0, 3.0, 3.0, 3.0)])
def test_a_change_of_units_changes_the_nll_by_its_logarithm_exactly(
    gaussian_run: Any, model: VAEModel, rows: np.ndarray, factors: tuple[float, ...]
) -> None:
    a, shift = np.array(factors), np.array([5.0, -1.0, 0.0, 100.0])
    other = load(gaussian_run.run_dir)
    other.scaling.scale *= torch.from_numpy(a)
    other.scaling.mean.mul_(torch.from_numpy(a)).add_(torch.from_numpy(shift))
    difference = model.log_prob(rows, 10) - other.log_prob(rows * a + shift, 10)
    np.testing.assert_allclose(difference, np.log(a).sum(), atol=2e-4)
    assert other.loss_floor() - model.loss_floor() == pytest.approx(np.log(a).sum())
    np.testing.assert_allclose(other.reconstruct(rows * a + shift), model.reconstruct(rows) * a + shift, rtol=1e-4)
    np.testing.assert_allclose(other.sample(5, seed=0), model.sample(5, seed=0) * a + shift, rtol=1e-6)


@pytest.mark.parametrize("kind", [Identity, MinMax, Binarize])
def test_probabilities_have_no_units(kind: type[Scaling]) -> None:
    bits = np.array([[0, 1.0], [1, 1], [1, 0]])
    model = collapsed(Bernoulli(2), kind(2).fit(Rows(bits)))
    scaled = collapsed(Bernoulli(2), Binarize(2).fit(Rows(50 * bits)))
    assert not model.log_abs_det(Batch(torch.ones(3, 2))).any()
    assert model.loss_floor() == scaled.loss_floor() == 0
    np.testing.assert_allclose(model.log_prob(bits, 5), -2 * math.log(2), rtol=1e-5)
    np.testing.assert_array_equal(model.log_prob(bits, 5), scaled.log_prob(50 * bits, 5))


def test_only_the_columns_with_densities_gain_from_the_scaling() -> None:
    """A mixture of both: log p(x) of a row is the density in data units times the probability of the rest."""
    likelihood = ByColumn(2, [(Gaussian(1, "fixed"), [1]), (Poisson(1), [0])])
    scaling = MinMax(2, (0, 10))
    model, x = collapsed(likelihood, scaling), np.array([[0.0, 3.0], [10.0, 7.0]])
    seen = Batch(torch.zeros(2, 2), torch.tensor([[True, True], [True, False]]))
    assert model.log_slopes(seen).tolist() == [[0, pytest.approx(-math.log(10))], [0, 0]]
    assert model.log_abs_det(seen).tolist() == [pytest.approx(-math.log(10)), 0]
    assert model.mean_log_slopes().tolist() == [0, pytest.approx(-math.log(10))]
    expected = stats.poisson(1).logpmf(x[:, 0] / 10) + stats.norm(0, 10).logpdf(x[:, 1])
    np.testing.assert_allclose(model.log_prob(x, 5), expected, rtol=1e-6)
    assert model.loss_floor() == pytest.approx(0.5 * math.log(2 * math.pi) + math.log(10))


@pytest.mark.parametrize(
    ("likelihood", "scaling", "measure"),
    [
        (Gaussian(2), Identity(2), "density, data units"),
        (Gaussian(2), Standardize(2), "density, data units"),
        (Gaussian(2), MinMax(2, (0, 16)), "density, data units"),
        (Gaussian(2), Binarize(2), "density, rows binarized at half of the range"),
        (Bernoulli(2), Identity(2), "probability, rows as they are"),
        (Bernoulli(2), MinMax(2), "probability, rows scaled to [0, 1]"),
        (Bernoulli(2), Binarize(2, threshold=0.25), "probability, rows binarized at 0.25"),
        (Bernoulli(2), Binarize(2, threshold=0.25, resample=True), "probability, rows binarized at random"),
        (
            ByColumn(2, [(Gaussian(1), [1]), (Bernoulli(1), [0])]),
            Identity(2),
            "density and probability, rows as they are",
        ),
    ],
)
def test_the_measure_tells_apart_what_cannot_be_compared(
    likelihood: Likelihood, scaling: Scaling, measure: str
) -> None:
    assert str(collapsed(likelihood, scaling).reference_measure) == measure
