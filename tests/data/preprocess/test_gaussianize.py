"""The map to normal scores: a density in data units, one-to-one, whatever the column."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.dataset import Rows
from vae_lightning.data.preprocess import gaussianize, knots
from vae_lightning.data.preprocess.gaussianize import Gaussianize
from vae_lightning.data.store import RowsInMemory
from vae_lightning.errors import ConfigError

RNG = np.random.default_rng(0)
N = 3000
COLUMNS = {
    "normal": RNG.normal(size=N),
    "log-normal": RNG.lognormal(sigma=1.5, size=N),
    "Cauchy": RNG.standard_cauchy(N),
    "gamma with a pole at 0": RNG.gamma(0.3, size=N),
    "uniform": RNG.random(N),
    "two humps": np.where(RNG.random(N) < 0.3, RNG.normal(-3, 0.1, N), RNG.normal(2, 1, N)),
    "40 % zeros": np.where(RNG.random(N) < 0.4, 0.0, RNG.gamma(2.0, size=N)),
    "a spike within": np.where(RNG.random(N) < 0.7, 0.5, RNG.normal(size=N)),
    "spikes at both ends": RNG.normal(size=N).clip(-1, 1),
    "two values": RNG.integers(0, 2, N) * 5.0 - 1,
    "few values": RNG.poisson(1.0, N) * 1.0,
    "rounded": RNG.normal(size=N).round(1),
    "huge": RNG.lognormal(size=N) * 1e12,
    "tiny": RNG.lognormal(size=N) * 1e-12,
    "far from 0": 1e12 + RNG.lognormal(size=N),
    "a millionth of its place": 1e6 + RNG.normal(size=N),
    "one outlier": np.r_[RNG.normal(size=N - 1), 1e9],
    "widest": RNG.normal(size=N) * 1e300,
    "two neighbouring numbers": np.where(RNG.random(N) < 0.5, 1.0, np.nextafter(1.0, 2)),
    "constant": np.full(N, 7.0),
    "a huge constant": np.full(N, -1e200),
    "one row apart": np.r_[np.zeros(N - 1), 1.0],
}
SMOOTH = ["normal", "log-normal", "Cauchy", "uniform", "two humps"]


def fitted(*names: str, bounded: bool = False) -> Gaussianize:
    return Gaussianize(len(names), bounded=bounded).fit(Rows(np.stack([COLUMNS[name] for name in names], 1)))


def of(name: str) -> Tensor:
    """The values of a column, each of them once, rising, (K, 1)."""
    return torch.from_numpy(np.unique(COLUMNS[name]))[:, None]


def log_density(scaling: Gaussianize, x: Tensor) -> Tensor:
    """That of x where its scores are standard normal, summed over nothing, (..., C)."""
    u = scaling.scores(x)
    return torch.distributions.Normal(0.0, 1.0).log_prob(u) + scaling.log_slopes(u)


@pytest.mark.parametrize("name", COLUMNS)
class TestEveryColumn:
    def test_values_that_differ_have_scores_that_differ_and_rise(self, name: str) -> None:
        scores = fitted(name).scores(of(name))
        assert torch.isfinite(scores).all()
        assert (scores.diff(dim=0) > 0).all()

    def test_the_inverse_undoes_it(self, name: str) -> None:
        x = of(name)
        # Digits of x are kept to what float64 has of the scores, which is what a unit of these is wide.
        for bounded in (False, True):
            scaling = fitted(name, bounded=bounded)
            back, slopes = scaling.inverse(scaling.scores(x)), scaling.log_slopes(scaling.scores(x))
            assert ((back - x).abs() <= 1e-9 * x.abs() + 1e-14 / slopes.exp()).all(), bounded

    def test_every_real_number_has_a_finite_score_and_density(self, name: str) -> None:
        scaling, x = fitted(name), of(name)
        width = max(float(x[-1] - x[0]), 1e-6 * float(x.abs().max()))
        for away in (1e-3, 1.0, 100.0):
            beyond = torch.stack([x[0] - away * width, x[-1] + away * width])
            u = scaling.scores(beyond)
            assert torch.isfinite(u).all()
            assert u[0] < scaling.scores(x[:1])[0]
            assert u[1] > scaling.scores(x[-1:])[0]
            assert torch.isfinite(scaling.log_slopes(u)).all()
            assert torch.isfinite(scaling.inverse(u)).all()
            if x[-1] > x[0]:  # a constant keeps its scale
                assert u.abs().max() < 1e15  # so that its square is a float32 number

    def test_the_slope_is_the_derivative_and_never_above_its_bound(self, name: str) -> None:
        scaling, x = fitted(name), of(name)
        middle = torch.cat([x, (x[1:] + x[:-1]) / 2, x[:1] - (x[-1] - x[0]), x[-1:] + (x[-1] - x[0])])
        middle.requires_grad_()
        u = scaling.scores(middle)
        (slope,) = torch.autograd.grad(u.sum(), middle)
        found = scaling.log_slopes(u.detach())
        assert torch.isfinite(found).all()
        assert (found <= scaling.max_log_slopes() + 1e-9).all()
        if name not in ("far from 0", "two neighbouring numbers"):  # few digits are left there of a step
            assert torch.quantile((found - slope.log()).abs(), 0.99) < 1e-6

    def test_what_is_drawn_stays_within_the_training_values(self, name: str) -> None:
        scaling = fitted(name, bounded=True)
        x = scaling.inverse(torch.linspace(-50, 50, 999, dtype=torch.float64)[:, None])
        assert x.min() == COLUMNS[name].min()
        assert x.max() == COLUMNS[name].max()

    def test_draws_are_distributed_as_the_column(self, name: str) -> None:
        """No more than the share of one of the equal parts apart, be it of one value."""
        draws = torch.special.ndtri(torch.linspace(0, 1, 20_001, dtype=torch.float64)[1:-1])[:, None]
        x = fitted(name, bounded=True).inverse(draws).flatten().numpy()
        assert stats.ks_2samp(x, COLUMNS[name]).statistic < 0.02


@pytest.mark.parametrize("name", SMOOTH)
def test_the_density_integrates_to_one_and_is_the_columns_own(name: str) -> None:
    scaling = fitted(name)
    # Nodes that are dense where the map bends: the images of an even grid, refined.
    u = torch.linspace(-9, 9, 200_001, dtype=torch.float64)[:, None]
    x = scaling.inverse(u).flatten()
    density = log_density(scaling, x[:, None]).flatten().exp()
    assert torch.trapezoid(density, x) == pytest.approx(1, abs=1e-5)
    truth = {
        "normal": stats.norm(),
        "log-normal": stats.lognorm(1.5),
        "Cauchy": stats.cauchy(),
        "uniform": stats.uniform(),
    }.get(name)
    if truth is not None:
        others = torch.from_numpy(truth.rvs(50_000, random_state=1))[:, None]
        cost = -log_density(scaling, others).mean() + truth.logpdf(others.numpy()).mean()
        # What N rows tell of a density without knowing its family; a fit of two numbers costs 1 / N.
        assert 0 < cost < 0.03


def test_training_rows_become_normal() -> None:
    u = fitted(*SMOOTH).transform(torch.from_numpy(np.stack([COLUMNS[name] for name in SMOOTH], 1))).double()
    assert u.mean(0).abs().max() < 0.01
    assert (u.std(0) - 1).abs().max() < 0.02
    for column in u.T:
        assert stats.kstest(column, "norm").statistic < 0.02


@pytest.mark.parametrize("name", ["40 % zeros", "a spike within", "few values", "spikes at both ends", "two values"])
def test_a_spike_is_given_back_exactly_even_by_way_of_float32(name: str) -> None:
    scaling = fitted(name, bounded=True)
    values, counts = np.unique(COLUMNS[name], return_counts=True)
    spikes = torch.from_numpy(values[counts > N / 10])[:, None]
    assert len(spikes)
    assert torch.equal(scaling.inverse(scaling.transform(spikes)), spikes)
    # Nor does its density hang on how its score is rounded.
    torch.testing.assert_close(
        scaling.log_slopes(scaling.transform(spikes)), scaling.log_slopes(scaling.scores(spikes)), rtol=0, atol=1e-12
    )


def test_a_change_of_units_changes_the_slopes_by_its_logarithm_and_nothing_else() -> None:
    """Of any column, however it is shifted: gains and losses of units would be mistaken for those of models."""
    names = ["log-normal", "Cauchy", "40 % zeros", "few values", "rounded"]
    x = np.stack([COLUMNS[name] for name in names], 1)
    plain, scaled, mirrored = (Gaussianize(5).fit(Rows(factor * x)) for factor in (1.0, 1024.0, -1024.0))
    torch.testing.assert_close(
        scaled.scores(torch.from_numpy(1024.0 * x)), plain.scores(torch.from_numpy(x)), rtol=1e-9, atol=1e-9
    )
    expected = plain.mean_log_slopes() - np.log(1024.0)
    torch.testing.assert_close(scaled.mean_log_slopes(), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(mirrored.mean_log_slopes(), expected, rtol=0, atol=0.05)


def test_a_constant_column_keeps_its_scale_and_one_without_a_cell_too() -> None:
    rows = np.stack([np.full(50, 7.0), np.full(50, np.nan)], 1)
    scaling = Gaussianize(2, bounded=False).fit(Rows(rows))
    x = torch.tensor([[7.0, 0.0], [8.5, -2.0], [3.0, 400.0]], dtype=torch.float64)
    assert torch.equal(scaling.scores(x), x - torch.tensor([7.0, 0.0]))
    assert torch.equal(scaling.inverse(scaling.scores(x)), x)
    assert scaling.mean_log_slopes().tolist() == scaling.max_log_slopes().tolist() == [0, 0]


def test_cells_without_a_number_stay_so_and_count_for_nothing() -> None:
    x, hole = COLUMNS["log-normal"][:, None], RNG.random((N, 1)) < 0.3
    scaling = Gaussianize(1).fit(Rows(np.where(hole, np.nan, x)))
    alone = Gaussianize(1).fit(Rows(x[~hole[:, 0]]))
    masked = Gaussianize(1).fit(RowsInMemory(Batch(torch.from_numpy(np.where(hole, 1e30, x)), torch.from_numpy(~hole))))
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(scaling.state_dict()[name], value, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(masked.state_dict()[name], value, rtol=1e-12, atol=1e-12)
    holes = torch.tensor([[torch.nan], [1.0]])
    assert scaling.transform(holes).isnan().tolist() == [[True], [False]]
    assert scaling.log_slopes(scaling.transform(holes)).isnan().tolist() == [[True], [False]]
    assert scaling.inverse(scaling.transform(holes)).isnan().tolist() == [[True], [False]]


def test_a_row_that_counts_twice_is_two_rows() -> None:
    x = torch.from_numpy(COLUMNS["log-normal"][:500, None])
    times = torch.arange(500) % 3
    weighted = Gaussianize(1).fit(RowsInMemory(Batch(x, weight=times.double())))
    repeated = Gaussianize(1).fit(RowsInMemory(Batch(x.repeat_interleave(times, 0))))
    u = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    torch.testing.assert_close(weighted.inverse(u), repeated.inverse(u), rtol=0.1, atol=0.01)
    torch.testing.assert_close(weighted.mean_log_slopes(), repeated.mean_log_slopes(), rtol=0, atol=0.03)


def test_a_wide_or_long_table_is_gone_through_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many columns in memory as have room; of more rows than are needed, evenly spaced ones."""
    rows = RowsInMemory(Batch(torch.from_numpy(np.stack([COLUMNS[name] for name in SMOOTH], 1))))
    whole = Gaussianize(5).fit(rows)
    monkeypatch.setattr(gaussianize, "CELLS_AT_ONCE", 2 * N)
    for name, value in Gaussianize(5).fit(rows).state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name
    monkeypatch.setattr(gaussianize, "MOST_ROWS", N // 2)
    halves = [Gaussianize(5).fit(part) for part in (rows, RowsInMemory(rows.rows.select(torch.arange(0, N, 2))))]
    assert torch.equal(halves[0].u, halves[1].u)
    assert torch.equal(halves[0].low, whole.low)  # of all rows
    assert torch.equal(halves[0].high, whole.high)


def test_knots_are_few_whatever_the_rows() -> None:
    values = torch.from_numpy(RNG.normal(size=200_000).round(2))
    found = knots.choose_knots(values, torch.ones_like(values))
    assert len(found.x) < 1000
    alternating = torch.from_numpy(
        np.where(RNG.random(200_000) < 0.5, RNG.integers(0, 90, 200_000), 90 * RNG.random(200_000))
    )
    assert len(knots.choose_knots(alternating, torch.ones_like(alternating)).x) < 1000


def test_a_deviation_is_half_of_the_middle_two_thirds() -> None:
    scaling = fitted("log-normal", "normal", "constant")
    mean = torch.tensor([[0.5, -1.0, 0.0]], dtype=torch.float64)
    draws = scaling.inverse(mean + 0.5 * torch.randn(100_000, 3, dtype=torch.float64))
    low, high = (torch.quantile(draws, p, dim=0) for p in (stats.norm.cdf(-1), stats.norm.cdf(1)))
    found = scaling.inverse_stddev(torch.full((1, 3), 0.5), mean)
    torch.testing.assert_close(found[0], (high - low) / 2, rtol=0.02, atol=0.01)
    # It tells how wide the map is there, whatever its inverse gives of it.
    assert (fitted("two values", bounded=True).inverse_stddev(torch.ones(1), torch.zeros(1)) > 0).all()


@pytest.mark.parametrize("num_knots", [0, 1, 3, 100, 2**70, 4.0, "4", None])
def test_illegal_numbers_of_knots(num_knots: Any) -> None:
    with pytest.raises(ConfigError, match="The 'num_knots' parameter of Gaussianize must be a power of 2"):
        Gaussianize(1, num_knots)
    with pytest.raises(ConfigError, match="The 'bounded' parameter of Gaussianize must be true or false"):
        Gaussianize(1, bounded="no")  # type: ignore[arg-type]


def test_a_spike_at_an_end_is_kept_in_finite_numbers() -> None:
    """The scores of the greatest value, where many rows share it, ended at infinity, which no model is loaded with."""
    x = torch.randn(1000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    scaling = Gaussianize(2).fit(RowsInMemory(Batch(x)))
    fitted = scaling.state_dict()
    assert not [name for name, value in fitted.items() if not value.isfinite().all()]
    assert (scaling.inverse(torch.full((1, 2), 9.0)) == 1).all()
    assert (scaling.inverse(torch.full((1, 2), -9.0)) == -1).all()
