"""The mixture of independent columns: what EM promises, and that it holds for every family."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from tests.models import every_likelihood, rows_for, rows_of
from vae_lightning.controls import mixture
from vae_lightning.controls.independent import IndependentColumns
from vae_lightning.controls.mixture import IMAGINED, MixtureOfIndependentColumns, fit_mixture
from vae_lightning.data.batch import Batch
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.poisson import Poisson

FAMILIES = dict(every_likelihood())
PROFILES = torch.tensor(
    [[0.9, 0.9, 0.9, 0.1, 0.1, 0.1], [0.1, 0.1, 0.9, 0.9, 0.9, 0.1], [0.5, 0.1, 0.1, 0.1, 0.9, 0.9]]
)
SHARES = torch.tensor([0.5, 0.3, 0.2])


def planted(num_rows: int) -> Tensor:
    return torch.bernoulli(PROFILES[torch.multinomial(SHARES, num_rows, replacement=True)])


def means(likelihood: Likelihood, train: Tensor, valid: Tensor, test: Tensor, latent_dim: int) -> tuple[float, float]:
    """Log-likelihood of the mixture and of independent columns."""
    model = fit_mixture(likelihood, rows_of(train), rows_of(valid), latent_dim)
    independent = likelihood.independent_columns(rows_of(train)).log_prob(test).double().sum(-1)
    return float(model.log_prob(Batch(test)).mean()), float(independent.mean())


def imagined_by_the_family(model: MixtureOfIndependentColumns) -> float:
    """What the M-step's own imagined rows add to what it maximises: a row of each bit, half a count."""
    first = model.classes[0].alone.mean
    if bool((first > 1).any()):
        return sum(0.5 * float(one.alone.mean.log().sum()) for one in model.classes) / len(model.classes)
    rows = torch.stack([torch.zeros(len(first)), torch.ones(len(first))])
    return sum(float(one.log_prob(Batch(rows)).sum()) for one in model.classes) / len(model.classes)


@pytest.mark.parametrize("family", ["gaussian per_column", "continuous_bernoulli", "bernoulli", "poisson"])
def test_em_never_lowers_what_it_maximises(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The likelihood of the training rows, and of those that are imagined: without end where rows are few otherwise."""
    likelihood = FAMILIES[family]
    x = rows_for(likelihood, 400)
    if family == "poisson":
        x = x + 3
    monkeypatch.setattr(mixture, "LEAST_GAIN", -torch.inf)
    values = []
    for steps in range(1, 12):
        monkeypatch.setattr(mixture, "MOST_STEPS", steps)
        model = mixture._fit(likelihood, Batch(x), 4)
        value = float(model.log_prob(Batch(x)).sum() + IMAGINED * model.log_joint(Batch(x)).mean(0).sum())
        values.append(value + (imagined_by_the_family(model) if family in ("bernoulli", "poisson") else 0))
    assert all(after > before - 1e-3 for before, after in itertools.pairwise(values))
    assert values[-1] > values[0] + 1


def test_planted_classes_are_recovered() -> None:
    model = fit_mixture(Bernoulli(6), rows_of(planted(4000)), rows_of(planted(1000)), 2)
    order = model.log_shares.argsort(descending=True)
    torch.testing.assert_close(model.log_shares.exp()[order].float(), SHARES, atol=0.04, rtol=0)
    found = torch.stack([model.classes[k].alone.mean for k in order.tolist()])
    torch.testing.assert_close(found, PROFILES, atol=0.06, rtol=0)
    assert model.words == "a mixture of 3 classes of independent columns"


def test_probabilities_of_all_rows_add_up_to_one() -> None:
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)))
    model = fit_mixture(Bernoulli(6), rows_of(planted(300)), None, 2)
    assert len(model.classes) == 3
    assert model.log_prob(Batch(every)).exp().sum() == pytest.approx(1, abs=1e-5)


def test_independent_columns_are_one_class() -> None:
    x = torch.bernoulli(torch.linspace(0.1, 0.9, 6).expand(4000, 6))
    likelihood = Bernoulli(6)
    model = fit_mixture(likelihood, rows_of(x[:2000]), rows_of(x[2000:]), 8)
    expected = likelihood.independent_columns(rows_of(x[:2000])).log_prob(x).double().sum(-1)
    assert model.words == "a mixture of 1 class of independent columns"
    assert torch.equal(model.log_prob(Batch(x)), expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_one_that_is_no_worse_on_validation_rows(name: str) -> None:
    likelihood = FAMILIES[name]
    train, valid = rows_for(likelihood, 300), rows_for(likelihood, 200)
    mixed, independent = means(likelihood, train, valid, valid, 5)
    assert mixed >= independent - 1e-6
    again = means(likelihood, train, valid, valid, 5)
    assert again == (mixed, independent)


def test_there_are_ten_rows_for_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(mixture, "_fit", lambda likelihood, rows, size, _: asked.append(size) or _one(likelihood, rows))
    fit_mixture(Bernoulli(6), rows_of(planted(55)), rows_of(planted(20)), 30)
    assert asked == [2, 5]


def _one(likelihood: Likelihood, rows: Batch) -> MixtureOfIndependentColumns:
    return MixtureOfIndependentColumns(torch.zeros(1), [IndependentColumns(likelihood, rows_of(rows.x))])


def test_masked_cells_count_for_nothing() -> None:
    x, mask = planted(500), torch.rand(500, 6) < 0.7
    models = []
    for other in (0.0, torch.nan):
        rows = mixture.RowsInMemory(Batch(torch.where(mask, x, other), mask))
        models.append((fit_mixture(Bernoulli(6), rows, rows, 2), rows))
    (first, rows), (second, others) = models
    assert torch.equal(first.log_prob(rows.rows), second.log_prob(others.rows))
    assert len(first.classes) == 3
    alone = [one.alone.log_prob(x) for one in first.classes]
    joint = torch.stack([torch.where(mask, one, 0.0).double().sum(-1) for one in alone], -1)
    torch.testing.assert_close(first.log_prob(rows.rows), (joint + first.log_shares).logsumexp(-1))


def test_weights_are_numbers_of_rows() -> None:
    x, weight = planted(100), torch.randint(0, 4, (100,))
    shares = torch.rand(100, 3).softmax(-1).double()
    weighted = mixture._maximise(Bernoulli(6), Batch(x, weight=weight.float()), shares)
    repeated = mixture._maximise(
        Bernoulli(6), Batch(x.repeat_interleave(weight, 0)), shares.repeat_interleave(weight, 0)
    )
    torch.testing.assert_close(weighted.log_joint(Batch(x)), repeated.log_joint(Batch(x)), atol=1e-4, rtol=0)


def test_a_narrow_class_does_not_cost_millions_elsewhere() -> None:
    """Forty equal rows among others would be a class without variance, which a validation row just beside it pays."""
    x = torch.cat([torch.randn(300, 4), torch.full((40, 4), 0.3)])
    test = torch.cat([torch.randn(300, 4), 0.3 + 0.05 * torch.randn(40, 4)])
    model = mixture._fit(Gaussian(4), Batch(x), 5)
    assert float(model.log_prob(Batch(test)).min()) > -60


def test_counts_of_genes_are_far_better_than_independent_columns(
    shared_data: Callable[[str], dict[str, np.ndarray]],
) -> None:
    x = torch.from_numpy(shared_data("pbmc68k_reduced_counts.npz")["x"].astype(np.float32))
    x = x[torch.randperm(len(x))]
    mixed, independent = means(Poisson(x.shape[1]), x[:420], x[420:560], x[560:], 16)
    assert mixed > independent + 100


def test_grey_levels_are_soft_targets() -> None:
    x = torch.from_numpy(load_digits().data / 16).float()
    x = x[torch.randperm(len(x))]
    mixed, independent = means(Bernoulli(64), x[:1000], x[1000:1400], x[1400:], 16)
    assert mixed > independent + 3
    assert mixed < -float(Bernoulli(64).entropy_floor(x[1400:]).sum(-1).mean())


def test_rows_without_end_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture, "MOST_ROWS", 500)
    seen = []
    monkeypatch.setattr(mixture, "_fit", lambda likelihood, rows, *_: seen.append(rows) or _one(likelihood, rows))
    x = planted(3000)
    x[:, 0] = torch.linspace(0, 1, 3000)
    fit_mixture(Bernoulli(6), rows_of(x), rows_of(x), 2)
    assert {rows.num_rows for rows in seen} == {500}
    assert float(seen[0].x[:, 0].mean()) == pytest.approx(0.5, abs=0.01)
