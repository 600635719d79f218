"""Each kind of columns has its control, and every control keeps the protocol."""

import pytest
import torch

from tests.models import every_likelihood, rows_for, rows_of
from vae_lightning.controls import choice
from vae_lightning.controls.choice import fit_control
from vae_lightning.controls.chow_liu import ChowLiuTree
from vae_lightning.controls.factor_model import FactorAnalysis
from vae_lightning.controls.mixture import MixtureOfIndependentColumns
from vae_lightning.data.batch import Batch
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.gaussian import Gaussian

FAMILIES = dict(every_likelihood())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gaussian per_column", FactorAnalysis),
        ("laplace shared", FactorAnalysis),
        ("bernoulli", ChowLiuTree),
        ("poisson", MixtureOfIndependentColumns),
        ("continuous_bernoulli", MixtureOfIndependentColumns),
        ("by column", MixtureOfIndependentColumns),
    ],
)
def test_the_supports_choose(name: str, kind: type) -> None:
    rows = rows_of(rows_for(FAMILIES[name], 100))
    assert isinstance(fit_control(FAMILIES[name], rows, rows, 2), kind)
    assert isinstance(fit_control(FAMILIES[name], rows, None, 2), kind)


def test_grey_levels_have_no_tree_but_levels_that_bits_are_drawn_from_do(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = torch.rand(200, 6)
    bits = torch.bernoulli(levels)
    likelihood = Bernoulli(6)
    assert isinstance(fit_control(likelihood, rows_of(levels), rows_of(levels), 2), MixtureOfIndependentColumns)
    assert isinstance(fit_control(likelihood, rows_of(levels), rows_of(bits), 2), ChowLiuTree)
    monkeypatch.setattr(choice, "MAX_COLUMNS", 5)
    assert isinstance(fit_control(likelihood, rows_of(bits), rows_of(bits), 2), MixtureOfIndependentColumns)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_control_scores_rows_in_nats_of_the_same_measure(name: str) -> None:
    """It is near the independent columns where columns are independent, and scores each row by itself."""
    likelihood = FAMILIES[name]
    raw = torch.randn(1, likelihood.raw_size)
    train, test = (likelihood(raw.expand(size, -1)).sample() for size in (2000, 500))
    control = fit_control(likelihood, rows_of(train), rows_of(train), 2)
    scores = control.log_prob(Batch(test))
    assert scores.shape == (500,)
    assert scores.dtype == torch.float64
    torch.testing.assert_close(control.log_prob(Batch(test[:7])), scores[:7], atol=1e-4, rtol=0)
    independent = likelihood.independent_columns(rows_of(train)).log_prob(test).double().sum(-1)
    if "fixed" not in name and "shared" not in name and "optimal" not in name:
        # A normal in a Laplace distribution's place loses 0.07 a column, in that of a t with ν = 3 0.2.
        slack = {"laplace": 0.6, "student_t": 1.8}.get(name.split()[0], 0.05)
        assert float(scores.mean()) == pytest.approx(float(independent.mean()), abs=slack)
    control.words.encode("ascii")


def test_a_single_row_and_a_single_column_have_a_control() -> None:
    for likelihood in (Gaussian(1), Bernoulli(1), FAMILIES["poisson"], FAMILIES["by column"]):
        rows = rows_of(rows_for(likelihood, 1))
        assert torch.isfinite(fit_control(likelihood, rows, rows, 3).log_prob(rows.rows)).all()
        assert torch.isfinite(fit_control(likelihood, rows, None, 3).log_prob(rows.rows)).all()
