"""Factor analysis against scipy's densities, scikit-learn's fit, and tables on which maximum likelihood is a trap."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import sklearn.decomposition
import torch
from torch import Tensor

from vae_lightning.controls import completion, covariance, factor_analysis
from vae_lightning.controls.covariance import Moments
from vae_lightning.controls.factor_analysis import _fit, fit_factor_analysis
from vae_lightning.controls.factor_model import FactorAnalysis
from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.moments import held_variances

pytestmark = pytest.mark.usefixtures("one_thread")

C, L = 8, 3


def rows(x: Tensor | np.ndarray, mask: Tensor | None = None, weight: Tensor | None = None) -> RowsInMemory:
    return RowsInMemory(Batch(torch.as_tensor(x), mask, weight=weight))


def draws(num_rows: int, columns: int = C, latents: int = L, seed: int = 0, noise: float = 0.5) -> Tensor:
    """Rows of a factor model; the same model for the same number of columns."""
    model, rng = np.random.default_rng(7), np.random.default_rng(seed)
    weight, spread = model.normal(size=(columns, latents)), noise * model.uniform(0.5, 1.5, columns)
    x = rng.normal(size=(num_rows, latents)) @ weight.T + rng.normal(size=(num_rows, columns)) * spread
    return torch.as_tensor(x + model.normal(size=columns))


def model() -> FactorAnalysis:
    torch.manual_seed(1)
    return FactorAnalysis(torch.randn(C).double(), torch.randn(C, L).double(), torch.rand(C).double() + 0.1)


def density(fit: FactorAnalysis, columns: np.ndarray | slice = slice(None)) -> scipy.stats.rv_continuous:
    whole = fit.loadings @ fit.loadings.T + torch.diag(fit.noise)
    chosen = whole.numpy()[columns][:, columns]
    return scipy.stats.multivariate_normal(fit.mean.numpy()[columns], chosen)


def plain(x: Tensor, rank: int = L, pseudo_rows: float = 0.0, held: float = 0.0) -> FactorAnalysis:
    """Maximum likelihood: nothing imagined, nothing held."""
    moments = Moments.of(rows(x), 2 * rank + 32)
    assert (moments.held == held).all()
    return _fit(moments, rank, pseudo_rows, torch.maximum)


def nll_of_independent_columns(train: Tensor, test: Tensor) -> np.ndarray:
    p = Gaussian(train.shape[1], "per_column").independent_columns(rows(train))
    return -p.log_prob(test).double().sum(-1).numpy()


# The density.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_its_density_is_the_normal_of_its_covariance(dtype: torch.dtype) -> None:
    fit, x = model(), 3 * torch.randn(50, C).to(dtype)
    found = fit.log_prob(Batch(x))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), density(fit).logpdf(x.double().numpy()), rtol=1e-9)


def test_of_masked_rows_the_observed_cells_have_their_marginal_density() -> None:
    fit, x, mask = model(), 3 * torch.randn(40, C).double(), torch.rand(40, C) < 0.6
    mask[0], mask[1] = False, True
    x[~mask] = torch.nan
    found = fit.log_prob(Batch(x, mask)).numpy()
    assert found[0] == 0
    for row, seen, value in zip(x.numpy()[1:], mask.numpy()[1:], found[1:], strict=True):
        truth = density(fit, np.flatnonzero(seen)).logpdf(row[seen]) if seen.any() else 0.0
        assert value == pytest.approx(truth, rel=1e-9)


def test_its_posterior_has_independent_dimensions() -> None:
    fit = fit_factor_analysis(rows(draws(400)), rows(draws(100, seed=1)), L)
    inner = fit.loadings.T @ (fit.loadings / fit.noise[:, None])
    torch.testing.assert_close(inner, torch.diag(fit.signal), rtol=1e-9, atol=1e-9)
    assert (fit.signal.diff() <= 0).all()


# Maximum likelihood.


@pytest.mark.parametrize(("columns", "latents"), [(5, 1), (8, 3), (20, 6)])
def test_without_imagined_rows_it_reaches_what_scikit_learn_reaches(
    columns: int, latents: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training log-likelihood, to a thousandth of a nat per column; to all digits where it may take its time."""
    x = draws(500, columns, latents)
    theirs = sklearn.decomposition.FactorAnalysis(latents, tol=1e-6, max_iter=20_000, svd_method="lapack").fit(x)
    assert plain(x, latents).log_prob(Batch(x)).mean().item() > theirs.score(x) - 1e-3 * columns
    monkeypatch.setattr(factor_analysis, "TOLERANCE", 1e-9)
    monkeypatch.setattr(factor_analysis, "MOST_STEPS", 20_000)
    assert plain(x, latents).log_prob(Batch(x)).mean().item() > theirs.score(x) - 1e-5 * columns


def test_no_turn_loses_training_likelihood(monkeypatch: pytest.MonkeyPatch) -> None:
    x = draws(60, 12, 5, noise=0.1)
    monkeypatch.setattr(factor_analysis, "TOLERANCE", -1.0)
    reached = []
    for turns in range(3, 40):
        monkeypatch.setattr(factor_analysis, "MOST_STEPS", turns)
        reached.append(plain(x, 4).log_prob(Batch(x)).mean().item())
    assert np.diff(reached).min() > -1e-9
    assert reached[-1] > reached[0]


def test_tied_variances_are_probabilistic_pca(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tipping & Bishop 1999: the mean of the discarded eigenvalues, and the leading ones above it."""
    x = draws(300)
    values = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)
    noise = values[L:].mean()
    monkeypatch.setattr(factor_analysis, "TOLERANCE", 1e-12)
    moments = Moments.of(rows(x), 40)
    fit = _fit(moments, L, 0.0, lambda residual, held: residual.mean().expand(C))  # noqa: ARG005
    torch.testing.assert_close(fit.noise, noise.expand(C), rtol=1e-5, atol=0)
    torch.testing.assert_close(fit.signal, values[:L] / noise - 1, rtol=1e-4, atol=0)
    optimum = -0.5 * (C * np.log(2 * np.pi) + values[:L].log().sum() + (C - L) * noise.log() + C)
    assert fit.log_prob(Batch(x)).mean().item() == pytest.approx(optimum.item(), abs=1e-8)


def test_a_row_of_weight_three_is_the_row_three_times() -> None:
    x, valid = draws(80), rows(draws(60, seed=1))
    times = torch.arange(80) % 4
    weighted = fit_factor_analysis(rows(x, weight=times.double()), valid, L)
    repeated = fit_factor_analysis(rows(x.repeat_interleave(times, 0)), valid, L)
    for ours, theirs in zip(covariances(weighted), covariances(repeated), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


def covariances(fit: FactorAnalysis) -> tuple[Tensor, Tensor]:
    return fit.mean, fit.loadings @ fit.loadings.T + torch.diag(fit.noise)


def test_masked_cells_say_nothing() -> None:
    x, mask = draws(500), torch.rand(500, C) < 0.8
    junk = torch.where(mask, x, torch.nan)
    fits = [fit_factor_analysis(rows(y, mask), rows(draws(100, seed=1)), L) for y in (junk, torch.where(mask, x, 1e9))]
    for one, other in zip(*map(covariances, fits), strict=True):
        assert torch.equal(one, other)
    # A fifth of the cells is missing at random: what is left has nearly the same covariance.
    whole = covariances(fit_factor_analysis(rows(x), rows(draws(100, seed=1)), L))[1]
    assert (covariances(fits[0])[1] - whole).norm() < 0.15 * whole.norm()


# Empty cells.


def holed(num_rows: int, columns: int, latents: int, seed: int, noise: float) -> Batch:
    """Rows of a factor model of which 30 % of the cells are empty."""
    x = draws(num_rows, columns, latents, seed, noise)
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) > 0.3
    return Batch(torch.where(mask, x, torch.nan), mask)


def truth(columns: int, latents: int, noise: float) -> FactorAnalysis:
    rng = np.random.default_rng(7)
    loadings, spread = rng.normal(size=(columns, latents)), noise * rng.uniform(0.5, 1.5, columns)
    parts = rng.normal(size=columns), loadings, spread**2
    return FactorAnalysis(*(torch.as_tensor(part) for part in parts))


@pytest.mark.parametrize(
    ("num_rows", "columns", "latents", "noise", "whole"),
    [(500, 8, 3, 0.5, True), (300, 20, 5, 0.3, True), (1000, 40, 8, 0.2, True), (1000, 40, 8, 0.2, False)],
)
def test_of_rows_with_holes_it_finds_nearly_the_truth(
    num_rows: int, columns: int, latents: int, noise: float, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairwise covariances alone were up to 11 nats a row worse than the truth on rows of 40 columns."""
    if not whole:
        monkeypatch.setattr(covariance, "MOST_WHOLE", 4)
        monkeypatch.setattr(completion, "MOST_WHOLE", 4)
    train, valid, test = (
        holed(size, columns, latents, seed, noise) for seed, size in enumerate((num_rows, num_rows // 4, 2000))
    )
    nll = {}
    for turns in (factor_analysis.MOST_TURNS, 0):
        monkeypatch.setattr(factor_analysis, "MOST_TURNS", turns)
        fit = fit_factor_analysis(RowsInMemory(train), RowsInMemory(valid), latents)
        nll[turns] = -fit.log_prob(test).mean().item()
    best = -truth(columns, latents, noise).log_prob(test).mean().item()
    filled, pairwise = nll.values()
    # N rows of so many parameters cost half a nat each on the rows that are fitted, and on the next ones again.
    lost = 0.5 * (columns * (latents + 2)) / (0.7 * num_rows)
    assert best - 0.05 < filled < best + 2 * lost
    assert filled - best < 0.7 * (pairwise - best)


def test_no_turn_loses_likelihood_of_the_observed_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factor_analysis, "TOLERANCE", -1.0)
    train = RowsInMemory(holed(100, 12, 4, 0, 0.3))
    fold = factor_analysis.Fold(train, Moments.of(train, 40), ())
    reached = []
    for turns in range(5):
        monkeypatch.setattr(factor_analysis, "MOST_TURNS", turns)
        fit = factor_analysis._fit_observed(fold, 4, 0.0, torch.maximum, 40)[0]
        reached.append(fit.log_prob(train.rows).mean().item())
    assert np.diff(reached).min() > 0
    assert np.diff(reached)[0] > 3 * np.diff(reached)[-1]


@pytest.mark.parametrize("weighted", [True, False])
def test_filled_rows_have_the_moments_that_the_model_expects(weighted: bool) -> None:
    """Against the conditional normal of each row by numpy."""
    fit, mask = model(), torch.rand(30, C) < 0.6
    mask[:10], mask[11] = mask[0], True
    x = torch.where(mask, torch.randn(30, C).double(), torch.nan)
    weight = torch.arange(30).double() % 3 if weighted else torch.ones(30).double()
    sigma, mean = (fit.loadings @ fit.loadings.T + torch.diag(fit.noise)).numpy(), fit.mean.numpy()
    filled, left = [], np.zeros((C, C))
    for row, seen, w in zip(x.numpy(), mask.numpy(), weight.numpy(), strict=True):
        o, m = np.flatnonzero(seen), np.flatnonzero(~seen)
        slopes = sigma[np.ix_(m, o)] @ np.linalg.inv(sigma[np.ix_(o, o)])
        row = row.copy()
        row[m] = mean[m] + slopes @ (row[o] - mean[o])
        left[np.ix_(m, m)] += w * (sigma[np.ix_(m, m)] - slopes @ sigma[np.ix_(o, m)])
        filled.append(row)
    expected = np.cov(np.array(filled).T, aweights=weight.numpy(), ddof=0) + left / weight.sum().item()
    found, log_prob = completion.complete(rows(x, mask, weight if weighted else None), fit, 40)
    np.testing.assert_allclose(found.values, expected, atol=1e-9)
    np.testing.assert_allclose(found.variance, expected.diagonal(), atol=1e-9)
    np.testing.assert_allclose(found.mean, np.average(filled, axis=0, weights=weight.numpy()), atol=1e-9)
    assert log_prob == pytest.approx(np.average(fit.log_prob(Batch(x, mask)).numpy(), weights=weight.numpy()))


def test_a_mask_without_holes_changes_nothing() -> None:
    x, valid = draws(300), rows(draws(100, seed=1))
    plain_fit = fit_factor_analysis(rows(x), valid, L)
    masked = fit_factor_analysis(rows(x, torch.ones(x.shape, dtype=torch.bool)), valid, L)
    for one, other in zip(covariances(plain_fit), covariances(masked), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


def test_filling_keeps_within_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    train = RowsInMemory(holed(200, 10, 3, 0, 0.3))
    assert factor_analysis._most_turns(train, 3, 10) == factor_analysis.MOST_TURNS
    patterns = len(set(map(tuple, train.rows.mask.tolist())))
    monkeypatch.setattr(factor_analysis, "MOST_PRODUCTS", patterns * 3 * 10 * 13 * 2.5)
    assert factor_analysis._most_turns(train, 3, 10) == 2
    assert factor_analysis._most_turns(rows(train.rows.x.nan_to_num()), 3, 10) == 0
    # Rows with the same holes are filled by one decomposition.
    same = train.rows._replace(mask=train.rows.mask[:2].repeat(100, 1))
    assert factor_analysis._most_turns(RowsInMemory(same), 3, 10) == factor_analysis.MOST_TURNS


def test_real_holes_of_communities_and_crime(shared_data: Callable[[str], dict[str, np.ndarray]]) -> None:
    """Two thirds of the columns are empty in 84 % of the rows: the pairwise estimate said 71 nats, and 16 factors."""
    table = shared_data("communities_crime.npz")
    x = torch.as_tensor(np.random.default_rng(1).permutation(np.column_stack([table["x"], table["y"]])))
    known = ~x.isnan()
    mean = torch.where(known, x, 0.0)[:1400].sum(0) / known[:1400].sum(0)
    scale = (torch.where(known, x - mean, 0.0)[:1400].square().sum(0) / known[:1400].sum(0)).sqrt()
    train, valid = (
        RowsInMemory(Batch(((x - mean) / scale)[part], known[part])) for part in (slice(1400), slice(1400, 1590))
    )
    fit = fit_factor_analysis(train, valid, 64)
    assert -fit.log_prob(valid.rows).mean().item() < 55


@pytest.mark.parametrize("columns", [30, 60])
def test_of_many_columns_a_low_rank_says_the_same(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    train, valid, test = (draws(400, columns, 4, seed) for seed in range(3))
    whole = fit_factor_analysis(rows(train), rows(valid), 4).log_prob(Batch(test)).mean().item()
    monkeypatch.setattr(covariance, "MOST_WHOLE", 10)
    assert Moments.of(rows(train), 20).vectors is not None
    low = fit_factor_analysis(rows(train), rows(valid), 4).log_prob(Batch(test)).mean().item()
    assert low == pytest.approx(whole, abs=0.01 * columns)


def test_a_low_rank_keeps_the_variance_of_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    x = draws(200, 30, 10)
    whole = Moments.of(rows(x), 12)
    monkeypatch.setattr(covariance, "MOST_WHOLE", 10)
    low = Moments.of(rows(x), 12)
    torch.testing.assert_close(low.multiply(torch.eye(30).double()).diagonal(), whole.variance)
    torch.testing.assert_close(low.variance, whole.variance)
    assert low.num_rows == whole.num_rows == 200


# What is chosen on validation.


def test_factors_that_are_not_needed_are_zero() -> None:
    x, valid = torch.randn(300, C).double(), torch.randn(2000, C).double()
    fit = fit_factor_analysis(rows(x), rows(valid), 6)
    assert fit.loadings.shape == (C, 6)
    alone = nll_of_independent_columns(x, valid).mean()
    assert -fit.log_prob(Batch(valid)).mean().item() < alone + 1e-6
    fit = fit_factor_analysis(rows(draws(300, C, 1)), rows(draws(300, C, 1, seed=1)), 6)
    assert (fit.signal > 1e-9).sum() < 6


def never_differs_here(num_rows: int, seed: int) -> Tensor:
    """One column that varies in one row of a thousand, and seven that are ordinary."""
    x = draws(num_rows, seed=seed)
    rare = torch.as_tensor(np.random.default_rng(seed).random(num_rows) < 0.004)
    x[:, 0] = torch.where(rare, 1.0, 0.0).double()
    return x


def copies(num_rows: int, seed: int) -> Tensor:
    x = draws(num_rows, seed=seed)
    return torch.cat([x, x + 1e-4 * torch.as_tensor(np.random.default_rng(seed).normal(size=x.shape))], 1)


TRAPS: dict[str, tuple[Callable[[int, int], Tensor], int, int]] = {
    # how rows are made, training rows, validation rows
    "ordinary": (lambda n, seed: draws(n, seed=seed), 300, 100),
    "few to validate": (lambda n, seed: draws(n, seed=seed), 100, 5),
    "nearly constant": (never_differs_here, 300, 60),
    "more columns than rows": (lambda n, seed: draws(n, 80, 3, seed), 40, 10),
    "five rows": (lambda n, seed: draws(n, seed=seed), 5, 1),
    "five rows of noise": (lambda n, seed: torch.as_tensor(np.random.default_rng(seed).normal(size=(n, 30))), 5, 2),
    "heavy tails": (lambda n, seed: draws(n, seed=seed).sinh(), 200, 40),
    "near copies": (copies, 200, 40),
    "two rows": (lambda n, seed: draws(n, seed=seed), 2, 1),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_on_unseen_rows_it_is_finite_and_not_worse_than_independent_columns(trap: str) -> None:
    make, num_train, num_valid = TRAPS[trap]
    train, valid, test = make(num_train, 11), make(num_valid, 12), make(1000, 13)
    fit = fit_factor_analysis(rows(train), rows(valid), L)
    nll = -fit.log_prob(Batch(test)).numpy()
    assert np.isfinite(nll).all()
    alone = nll_of_independent_columns(train, test)
    worse = nll - alone
    assert worse.mean() < 5 * worse.std() / np.sqrt(len(worse)) + 0.02 * train.shape[1]


@pytest.mark.parametrize("seed", range(8))
def test_columns_with_nothing_in_common_have_no_factors(seed: int) -> None:
    """Validation rows that prefer a factor by less than a standard error prefer none."""
    draw = np.random.default_rng(seed)
    x = draw.standard_t(5, size=(1000, 12))
    fit = fit_factor_analysis(rows(x[:800]), rows(x[800:]), 12)
    alone = Gaussian(12, "per_column").independent_columns(rows(x[:800]))
    test = torch.as_tensor(draw.standard_t(5, size=(4000, 12)))
    loss = (alone.log_prob(test).double().sum(-1) - fit.log_prob(Batch(test))).mean().item()
    assert loss < 0.02


def test_no_noise_variance_falls_below_what_is_held_of_it() -> None:
    x, valid = never_differs_here(300, 1), never_differs_here(100, 2)
    x[:, 1] = 3.0
    valid[:, 1] = 3.0
    held = held_variances(rows(torch.cat([x, valid])))
    assert held[1] >= 1 / 401
    fit = fit_factor_analysis(rows(x), rows(valid), L)
    assert (fit.noise >= held * (1 - 1e-9)).all()


def test_without_validation_rows_the_training_rows_judge_one_another() -> None:
    x = draws(200)
    fit = fit_factor_analysis(rows(x), None, L)
    test = draws(1000, seed=3)
    assert -fit.log_prob(Batch(test)).mean().item() < nll_of_independent_columns(x, test).mean() - 1


def test_the_same_rows_give_the_same_fit_whatever_the_global_stream() -> None:
    x, valid = rows(draws(100)), rows(draws(10, seed=1))
    first = fit_factor_analysis(x, valid, L)
    torch.rand(5)
    state = torch.get_rng_state()
    second = fit_factor_analysis(x, valid, L)
    assert torch.equal(torch.get_rng_state(), state)
    for ours, theirs in zip(covariances(first), covariances(second), strict=True):
        assert torch.equal(ours, theirs)
