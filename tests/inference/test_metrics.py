"""ELBOMeter against numpy over all rows at once."""

import numpy as np
import pytest
import torch

from tests.models import every_likelihood, forward, randomise, rows_for, small_vae
from vae_lightning.data.batch import Batch
from vae_lightning.inference.metrics import ELBOMeter
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.terms import Pass
from vae_lightning.posteriors.gaussian import DiagonalGaussian
from vae_lightning.posteriors.gaussian import Gaussian as GaussianPosterior
from vae_lightning.priors.mixture import Mixture

BOUND, LATENTS, COLUMNS = 4.0, 4, 3
SLOPES = torch.tensor([0.5, -2.0, 7.0], dtype=torch.float64)


def slopes(batch: Batch) -> torch.Tensor:
    """What each cell's log-density gains, which depends on its value."""
    gained = SLOPES + batch.x
    return gained if batch.mask is None else torch.where(batch.mask, gained, 0.0)


def model() -> VAE:
    return VAE(Bernoulli(COLUMNS), LATENTS, posterior=GaussianPosterior(LATENTS, BOUND))


def passes(sizes: list[int], masked: bool = False, weighted: bool = False) -> list[tuple[Pass, Batch, torch.Tensor]]:
    """Uneven batches with an inactive latent, some log-variances at their bound and some variances at theirs."""
    made = []
    for rows in sizes:
        x, mask = torch.rand(rows, COLUMNS), torch.rand(rows, COLUMNS) < 0.7
        batch = Batch(x, mask if masked else None, None, torch.rand(rows) + 0.1 if weighted else None)
        log_px = torch.randn(3, rows, COLUMNS) - 50
        mean = torch.randn(rows, 4) * torch.tensor([0.0, 0.05, 0.3, 1.0]) + torch.tensor([9.0, 0.0, 2.0, 0.0])
        q = DiagonalGaussian(mean, (3 * torch.randn(rows, 4)).clamp(-BOUND, BOUND), BOUND)
        log_px = torch.where(mask, log_px, 0.0) if masked else log_px
        made.append((Pass(q, mean[None], None, log_px, torch.rand(rows, LATENTS)), batch, torch.rand(())))
    return made


def truth(parts: list[tuple[Pass, Batch, torch.Tensor]]) -> dict[str, float]:
    def rows(value) -> np.ndarray:
        return np.concatenate([value(terms, batch).double().numpy() for terms, batch, _ in parts])

    weight = rows(lambda _, b: torch.ones(b.num_rows) if b.weight is None else b.weight)
    shares = np.concatenate([np.full(batch.num_rows, share.item()) for _, batch, share in parts])

    def mean(values: np.ndarray) -> np.ndarray:
        return np.average(values, axis=0, weights=weight)

    by_column = -mean(rows(lambda terms, batch: terms.log_px.mean(0) + slopes(batch)))
    kl = mean(rows(lambda terms, _: terms.kl)).sum()
    codes = rows(lambda terms, _: terms.posterior.mean)
    return {
        "nelbo": by_column.sum() + kl,
        "reconstruction": by_column.sum(),
        "kl": kl,
        "active_units": (mean((codes - mean(codes)) ** 2) > 0.01).sum(),
        "log_var_at_bound": mean(rows(lambda t, _: (t.posterior.log_var.abs() > 0.95 * BOUND).double())).mean(),
        "variance_at_floor": mean(shares),
        "by column": by_column,
    }


@pytest.mark.parametrize("masked", [False, True], ids=["all cells", "masked"])
@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("sizes", [[40], [16, 16, 7], [1, 30]])
def test_means_are_over_rows_however_they_are_batched(sizes: list[int], weighted: bool, masked: bool) -> None:
    meter, parts = ELBOMeter(model(), slopes), passes(sizes, masked, weighted)
    for part in parts:
        meter.update(*part)
    result, expected = {name: value.item() for name, value in meter.compute().items()}, truth(parts)
    by_column = expected.pop("by column")
    assert result == pytest.approx(expected, rel=1e-6)
    assert 0 < result["log_var_at_bound"] < 1
    assert result["nelbo"] == pytest.approx(result["reconstruction"] + result["kl"], rel=1e-14)
    np.testing.assert_allclose(meter.nll_by_column, by_column, rtol=1e-6)
    assert meter.kl_by_dimension.shape == (LATENTS,)
    assert meter.kl_by_dimension.sum().item() == pytest.approx(result["kl"])


def test_a_new_epoch_starts_afresh() -> None:
    meter, (first, second) = ELBOMeter(model(), slopes), passes([9, 5])
    meter.update(*first)
    meter.reset()
    meter.update(*second)
    expected = truth([second])
    del expected["by column"]
    assert {k: v.item() for k, v in meter.compute().items()} == pytest.approx(expected, rel=1e-6)


def test_an_active_unit_is_one_whose_mean_varies_across_rows() -> None:
    """A large but constant mean is not activity, even a million times its own spread from zero."""
    rows = 1000
    sign = torch.ones(rows)
    sign[::2] = -1
    mean = torch.stack([0.09 * sign, 0.11 * sign, 100 + 0.09 * sign, 100 + 0.11 * sign], 1)
    meter, q = ELBOMeter(model()), DiagonalGaussian(mean, torch.zeros(rows, 4), BOUND)
    terms = Pass(q, mean[None], None, torch.zeros(1, rows, COLUMNS), torch.zeros(rows, 4))
    meter.update(terms, Batch(torch.zeros(rows, COLUMNS)), torch.zeros(()))
    assert meter.compute()["active_units"].item() == 2


def test_every_family_is_measured_under_the_same_names() -> None:
    names = {"nelbo", "reconstruction", "kl", "active_units", "log_var_at_bound", "variance_at_floor"}
    for name, likelihood in every_likelihood():
        vae, x = randomise(small_vae(likelihood), 0.3), rows_for(likelihood, 20)
        terms = forward(vae, x)
        meter = ELBOMeter(vae)
        meter.update(terms, Batch(x), likelihood.at_floor(terms.px))
        found = meter.compute()
        assert found.keys() == names, name
        assert found["nelbo"].item() == pytest.approx(terms.nelbo.mean().item(), rel=1e-5), name


def test_an_estimated_kl_belongs_to_no_dimension() -> None:
    vae, x = small_vae(Gaussian(6), prior=Mixture(3, 2)), torch.randn(20, 6)
    terms, meter = forward(vae, x), ELBOMeter(vae)
    meter.update(terms, Batch(x), torch.zeros(()))
    assert meter.compute()["kl"].item() == pytest.approx(terms.kl.mean().item(), rel=1e-5)
    assert meter.kl_by_dimension.shape == (1,)
