"""The numbers of a trained model, each against what it must be."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything

from tests.models import randomise, rows_of, small_vae
from vae_lightning import load
from vae_lightning.config.build import Built, build
from vae_lightning.controls.base import Control
from vae_lightning.controls.choice import fit_control
from vae_lightning.data.batch import Batch
from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Rows
from vae_lightning.data.preprocess.standardize import Standardize
from vae_lightning.errors import ConfigError
from vae_lightning.inference.evaluation import Evaluation, evaluate
from vae_lightning.inference.model import VAEModel
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.moments import RowBatch
from vae_lightning.model.vae import VAE
from vae_lightning.priors.mixture import Mixture

COLUMNS = [Column(name, "float64") for name in "abc"]


@pytest.fixture(scope="module")
def built(gaussian_run: Any) -> Built:
    seed_everything(0, verbose=False)
    return build(gaussian_run.settings)


def numbers(gaussian_run: Any, built: Built, **options: Any) -> Evaluation:
    model, rows = load(gaussian_run.run_dir), built.datamodule.rows
    control = fit_control(model.vae.likelihood, rows["train"], rows["valid"], model.vae.latent_dim)
    options = {"log_slopes": model.log_slopes, "control": control, **options}
    return evaluate(model.vae, list(rows["test"].batches()), rows["train"], **options)


def test_the_evaluation_in_the_summary_can_be_repeated(gaussian_run: Any, built: Built) -> None:
    assert numbers(gaussian_run, built, num_samples=10, seed=0).as_dict() == gaussian_run.summary["test"]


def test_the_bound_holds_and_tightens_with_samples(gaussian_run: Any, built: Built) -> None:
    few, many = (numbers(gaussian_run, built, num_samples=n) for n in (1, 300))
    assert many.nll < few.nll
    assert many.nll < many.nelbo
    assert many.entropy_floor < many.nll < many.baseline
    assert 0 <= many.active_units <= many.latent_dim == 2
    assert (few.num_samples, many.num_samples, many.num_rows) == (1, 300, 120)


def test_the_global_stream_is_untouched_and_progress_counts_rows(gaussian_run: Any, built: Built) -> None:
    model, rows, done = load(gaussian_run.run_dir), built.datamodule.rows, []
    state = torch.get_rng_state()
    evaluate(model.vae, list(rows["test"].batches()), rows["train"], 2, progress=done.append)
    assert torch.equal(torch.get_rng_state(), state)
    assert sum(done) == 120


def test_no_samples_are_refused(gaussian_run: Any, built: Built) -> None:
    with pytest.raises(ConfigError, match="num_samples"):
        numbers(gaussian_run, built, num_samples=0)


def test_a_collapsed_model_is_the_baseline() -> None:
    rows = torch.randn(50, 3, dtype=torch.float64).float() * torch.tensor([1.0, 5.0, 0.1]) + 2
    vae = VAE(Gaussian(3), 2, [])
    torch.nn.init.zeros_(vae.heads.weight)
    vae.start_from(rows_of(rows))
    result = evaluate(vae.eval(), [Batch(rows)], rows_of(rows), 5)
    x = rows.double().numpy()
    truth = 0.5 * (1 + np.log(2 * math.pi * x.var(0))).sum()
    for number in (result.nll, result.nelbo, result.reconstruction, result.baseline):
        assert number == pytest.approx(truth, abs=1e-4)
    assert result.kl == result.active_units == 0
    spread = (-0.5 * ((x - x.mean(0)) ** 2 / x.var(0)).sum(1)).std(ddof=1) / math.sqrt(50)
    assert result.nll_standard_error == pytest.approx(spread, rel=0.01)


def test_an_untrained_bernoulli_needs_one_bit_a_column() -> None:
    vae = VAE(Bernoulli(3), 2, [])
    torch.nn.init.zeros_(vae.heads.weight)
    rows = torch.randint(0, 2, (9, 3)).float()
    result = evaluate(vae, [Batch(rows)], rows_of(rows), 5)
    assert result.bits_per_column == pytest.approx(1)
    assert result.nll == pytest.approx(3 * math.log(2))
    assert result.entropy_floor == 0


def test_one_row_has_no_standard_error() -> None:
    rows = torch.ones(1, 3)
    result = evaluate(VAE(Bernoulli(3), 1, []), [Batch(rows)], rows_of(rows), 5, control=Known(torch.ones(1)))
    for name in ("nll", "baseline_gain", "control_gain"):
        assert math.isnan(getattr(result, f"{name}_standard_error"))
    assert math.isnan(result.explained)
    assert math.isnan(result.extreme_share)
    assert result.control == 1


class Known(Control):
    """Losses that are known beforehand."""

    words = "what is known"

    def __init__(self, losses: torch.Tensor) -> None:
        self.losses = losses.double()

    def log_prob(self, batch: RowBatch) -> torch.Tensor:
        return -self.losses[: len(batch.x)]


def untrained_bits(weight: torch.Tensor | None = None) -> tuple[VAE, Batch]:
    """Each row costs 3 log 2."""
    vae = VAE(Bernoulli(3), 2, [])
    torch.nn.init.zeros_(vae.heads.weight)
    return vae, Batch((torch.rand(200, 3) < 0.1).float(), weight=weight)


def test_the_control_is_compared_row_by_row() -> None:
    vae, batch = untrained_bits()
    losses = torch.rand(200)
    result = evaluate(vae, [batch], rows_of(batch.x), 5, control=Known(losses))
    assert result.control == pytest.approx(float(losses.mean()))
    assert result.control_words == "what is known"
    assert result.control_gain_standard_error == pytest.approx(float(losses.std()) / math.sqrt(200), rel=1e-3)
    way = result.baseline - result.control
    assert result.explained == pytest.approx((result.baseline - 3 * math.log(2)) / way)
    assert result.explained < 0


def test_there_is_no_share_of_a_way_that_nobody_can_measure() -> None:
    vae, batch = untrained_bits()
    baseline = -vae.likelihood.independent_columns(rows_of(batch.x)).log_prob(batch.x).sum(-1)
    for control in (baseline, baseline + 1, baseline + 5 * torch.randn(200)):
        assert math.isnan(evaluate(vae, [batch], rows_of(batch.x), 5, control=Known(control)).explained)


def test_a_control_is_in_data_units_too() -> None:
    vae, batch = untrained_bits()
    slopes = lambda batch: torch.tensor([1.0, 2.0, 4.0]).double().expand(batch.x.shape)  # noqa: E731
    plain, shifted = (
        evaluate(vae, [batch], rows_of(batch.x), 5, log_slopes=s, control=Known(torch.ones(200) / 2))
        for s in (None, slopes)
    )
    assert plain.control - shifted.control == pytest.approx(7)
    assert shifted.explained == pytest.approx(plain.explained)


def test_errors_of_rows_that_count_differently() -> None:
    """As many rows that count 0 as there are: they change nothing."""
    vae, batch = untrained_bits(torch.cat([torch.ones(100), torch.zeros(100)]))
    half = batch.split(100)[0]
    losses = torch.rand(200)
    whole, part = (evaluate(vae, [b], rows_of(half.x), 5, control=Known(losses)) for b in (batch, half))
    assert whole.control == pytest.approx(part.control)
    assert whole.control_gain_standard_error == pytest.approx(part.control_gain_standard_error)


def test_what_few_rows_add_to_the_error_is_told() -> None:
    train = torch.randn(1000, 3)
    vae = VAE(Gaussian(3), 2, [])
    torch.nn.init.zeros_(vae.heads.weight)
    vae.start_from(rows_of(train))
    ordinary = evaluate(vae, [Batch(train[:200])], None, 5)
    extreme = train[:200].clone()
    extreme[7] += 40
    assert ordinary.extreme_share < 0.5 < 0.99 < evaluate(vae, [Batch(extreme)], None, 5).extreme_share


def test_every_density_moves_by_the_logarithm_of_the_scale_and_nothing_else_moves() -> None:
    x = torch.randn(40, 3, dtype=torch.float64).numpy()
    factors = np.array([10.0, 0.5, 3.0])
    vae = VAE(Gaussian(3), 2, [4])
    first, second = (
        VAEModel(vae, p, COLUMNS).evaluate(y, y, 5) for y in (x, x * factors) for p in [Standardize(3).fit(Rows(y))]
    )
    moved = np.log(factors).sum()
    for name in ("nelbo", "reconstruction", "nll", "baseline", "entropy_floor"):
        assert getattr(second, name) - getattr(first, name) == pytest.approx(moved, abs=1e-4), name
    assert second.kl == pytest.approx(first.kl, abs=1e-5)
    assert second.nll_standard_error == pytest.approx(first.nll_standard_error, rel=1e-3)


def test_a_monte_carlo_kl_is_taken_from_the_draws_of_the_nll() -> None:
    """A mixture of one standard normal is N(0, I), but does not know it: the numbers agree up to their errors."""
    exact = randomise(small_vae(Bernoulli(6)), 0.3).eval()
    estimated = small_vae(Bernoulli(6), prior=Mixture(3, 1)).eval()
    estimated.load_state_dict({**estimated.state_dict(), **exact.state_dict()})
    torch.nn.init.zeros_(estimated.prior.means)
    x = torch.rand(200, 6).round()
    known, guess = (evaluate(vae, [Batch(x)], rows_of(x), 2000) for vae in (exact, estimated))
    assert guess.kl == pytest.approx(known.kl, abs=0.01)
    assert guess.nelbo == pytest.approx(known.nelbo, abs=0.01)
    assert guess.nll == pytest.approx(known.nll, abs=0.01)
    assert guess.nll < guess.nelbo


def test_without_training_rows_there_is_no_baseline() -> None:
    x = torch.rand(20, 3).round()
    result = evaluate(VAE(Bernoulli(3), 1, []), [Batch(x)], None, 5)
    assert math.isnan(result.baseline)
    assert math.isnan(result.control)
    assert result.control_words == ""
