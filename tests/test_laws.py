"""The laws that hold everywhere (docs/design.md): for every family, at initialisation and for random networks."""

import ast
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

import vae_lightning
from tests.models import VARIANTS, every_likelihood, forward, mixed, randomise, rows_for, small_vae
from vae_lightning.data.batch import Batch
from vae_lightning.data.columns import Column
from vae_lightning.data.preprocess.standardize import Standardize
from vae_lightning.data.store import RowsInMemory
from vae_lightning.inference.evaluation import evaluate
from vae_lightning.inference.metrics import ELBOMeter
from vae_lightning.inference.model import VAEModel
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.bounds import smooth_bound, smooth_bound_inverse
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Weights
from vae_lightning.objectives.elbo import ELBO
from vae_lightning.objectives.iwae import IWAE
from vae_lightning.posteriors.gaussian import Gaussian as GaussianPosterior
from vae_lightning.priors.mixture import Mixture
from vae_lightning.training.step import loss_and_statistics

pytestmark = pytest.mark.usefixtures("one_thread")

PACKAGE = Path(vae_lightning.__file__).parent
# The doctor examines what other people write, reductions and all.
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "doctor" not in path.parts)


def loss(vae: VAE, batch: Batch, noise: Tensor, objective: ELBO | IWAE | None = None, beta: float = 1.0) -> Tensor:
    return loss_and_statistics(vae, objective or ELBO(), batch, noise, Weights(beta))[0]


# Law 1: sums over columns and latent dimensions, means over rows.


def test_no_reduction_argument_exists() -> None:
    offenders = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            named = isinstance(node, ast.Call) and "reduction" in [keyword.arg for keyword in node.keywords]
            if named or (isinstance(node, ast.arg) and node.arg == "reduction"):
                offenders.append(f"{path}:{node.lineno}")
    assert not offenders


def test_doubling_the_batch_does_not_move_the_loss() -> None:
    for name, likelihood in every_likelihood():
        vae = randomise(small_vae(likelihood), 0.3)
        x, mask, weight = rows_for(likelihood, 10), torch.rand(10, 6) < 0.7, torch.rand(10) + 0.1
        noise = vae.noise(4, 10)
        twice = torch.cat([noise, noise], 1)
        for objective in (ELBO(), IWAE()):
            for batch in (Batch(x), Batch(x, mask), Batch(x, mask, weight=weight)):
                doubled = Batch(*(None if part is None else torch.cat([part, part]) for part in batch))
                once, both = loss(vae, batch, noise, objective), loss(vae, doubled, twice, objective)
                torch.testing.assert_close(both, once, msg=lambda text, name=name: f"{name}: {text}")


def test_doubling_the_columns_doubles_the_reconstruction() -> None:
    x = torch.rand(8, 5).round()
    for c, rows in ((5, x), (10, torch.cat([x, x], 1))):
        reconstruction = forward(small_vae(Bernoulli(c)), rows).reconstruction
        torch.testing.assert_close(reconstruction, torch.full((8,), c * math.log(2)))


def test_a_row_does_not_depend_on_the_rest_of_its_batch() -> None:
    for name, likelihood in every_likelihood():
        vae = randomise(small_vae(likelihood), 0.3)
        x, noise = rows_for(likelihood, 10), vae.noise(3, 10)
        whole = vae(Batch(x), noise)
        alone = [vae(Batch(x[i : i + 1]), noise[:, i : i + 1]) for i in range(10)]
        for ours, theirs in (
            (whole.posterior.mean, torch.cat([one.posterior.mean for one in alone])),
            (whole.posterior.stddev, torch.cat([one.posterior.stddev for one in alone])),
            (whole.log_px, torch.cat([one.log_px for one in alone], 1)),
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5, msg=lambda t, name=name: f"{name}: {t}")


# Law 2: the reparameterised draw and the KL.


def test_a_draw_is_mean_plus_stddev_times_noise() -> None:
    vae = randomise(small_vae(Bernoulli(6)), 0.5)
    x, noise = torch.rand(7, 6), torch.randn(4, 7, 3)
    q = vae.encode(Batch(x))
    torch.testing.assert_close(vae(Batch(x), noise).z, q.mean + q.stddev * noise, rtol=0, atol=0)


def test_every_row_draw_and_dimension_has_noise_of_its_own() -> None:
    noise = small_vae(Bernoulli(6)).noise(4, 7)
    assert noise.shape == (4, 7, 3)
    assert noise.unique().numel() == noise.numel()


def test_draws_carry_the_gradient_to_every_parameter() -> None:
    for name, likelihood in every_likelihood():
        vae = randomise(small_vae(likelihood, prior=Mixture(3, 4)), 0.5)
        forward(vae, rows_for(likelihood, 7)).nelbo.mean().backward()
        unreached = [part for part, p in vae.named_parameters() if p.grad is None or not p.grad.any()]
        assert not unreached, name


def test_the_kl_is_the_one_of_torch_distributions() -> None:
    vae = randomise(small_vae(Bernoulli(6)), 0.5)
    x = torch.rand(200, 6)
    q = vae.encode(Batch(x))
    kl = forward(vae, x).kl
    torch.testing.assert_close(kl, kl_divergence(Normal(q.mean, q.stddev), Normal(0.0, 1.0)), rtol=1e-5, atol=1e-6)
    assert (kl >= 0).all()


def test_a_one_sample_kl_may_be_negative_but_its_mean_may_not() -> None:
    vae = randomise(small_vae(Bernoulli(6)), 0.3)
    terms = forward(vae, torch.rand(20, 6), num_samples=20_000, densities=True)
    one_sample = terms.log_qz - terms.log_pz
    kl = terms.kl.sum(-1)
    error = one_sample.std(0) / math.sqrt(20_000)
    assert (one_sample < 0).any()
    assert (kl > 0).all()
    assert ((one_sample.mean(0) - kl).abs() < 5 * error).all()


def test_a_monte_carlo_kl_says_that_it_is_one() -> None:
    """A mixture of one standard normal is N(0, I): its estimated KL is that of the closed form, up to its error."""
    exact = randomise(small_vae(Bernoulli(6)), 0.3)
    with torch.no_grad():
        prior = Mixture(3, 1)
        prior.means.zero_()
        estimated = small_vae(Bernoulli(6), prior=prior)
        estimated.load_state_dict({**estimated.state_dict(), **exact.state_dict()})
        x, noise = torch.rand(10, 6), exact.noise(20_000, 10)
        known, guess = exact(Batch(x), noise, True), estimated(Batch(x), noise, True)
    assert (exact.kl_is_exact, estimated.kl_is_exact) == (True, False)
    assert (known.kl.shape, guess.kl.shape) == ((10, 3), (10, 1))
    error = (guess.log_qz - guess.log_pz).std(0) / math.sqrt(20_000)
    assert ((guess.kl.sum(-1) - known.kl.sum(-1)).abs() < 5 * error).all()
    one = torch.stack([estimated(Batch(x), n[None]).kl for n in noise[:200]])
    assert (one < 0).any()


# Law 3: the smooth bound of the log-variance, and what sits at it.


@pytest.mark.parametrize("bound", [0.5, 15.0, 100.0])
def test_the_bound_has_slope_one_at_zero_and_is_never_passed(bound: float) -> None:
    value = torch.tensor([0.0, -1e8, -1e4, 1e4, 1e8], dtype=torch.float64, requires_grad=True)
    bounded = smooth_bound(value, bound)
    bounded.sum().backward()
    assert value.grad[0].item() == pytest.approx(1.0)
    assert bounded[0].item() == 0
    torch.testing.assert_close(bounded[1:].abs(), torch.full((4,), bound).double())
    line = smooth_bound(torch.linspace(-3 * bound, 3 * bound, 1001, dtype=torch.float64), bound)
    assert (line.diff() > 0).all()
    assert (line.abs() < bound).all()


@pytest.mark.parametrize("bound", [0.5, 15.0])
def test_the_inverse_undoes_the_bound_and_leaves_room_to_move(bound: float) -> None:
    value = torch.linspace(-0.94 * bound, 0.94 * bound, 101, dtype=torch.float64)
    torch.testing.assert_close(smooth_bound(smooth_bound_inverse(value, bound), bound), value)
    beyond = smooth_bound_inverse(torch.tensor([-1e9, -bound, bound, 1e9], dtype=torch.float64), bound)
    torch.testing.assert_close(smooth_bound(beyond, bound).abs(), torch.full((4,), 0.95 * bound).double())


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e8])
def test_a_log_variance_stays_within_its_bound_for_any_weights(scale: float) -> None:
    vae = randomise(small_vae(Bernoulli(6), posterior=GaussianPosterior(3, log_var_bound=4.0)), scale)
    assert (vae.encode(Batch(torch.rand(50, 6))).log_var.abs() <= 4.0).all()


def test_an_unbounded_head_shows_through_the_bound_near_zero() -> None:
    vae = small_vae(Bernoulli(6))
    vae.heads.bias.data[3:] = 0.1
    log_var = vae.encode(Batch(torch.rand(5, 6))).log_var
    torch.testing.assert_close(log_var, torch.full((5, 3), 0.1), rtol=1e-4, atol=0)


def test_what_sits_at_the_bound_is_a_metric() -> None:
    vae, x = small_vae(Bernoulli(6)), torch.rand(20, 6)
    vae.heads.bias.data[3:] = torch.tensor([0.0, -1e3, 1e3])
    meter = ELBOMeter(vae)
    meter.update(forward(vae, x), Batch(x), torch.zeros(()))
    assert meter.compute()["log_var_at_bound"].item() == pytest.approx(2 / 3)


# Law 4: densities in data units, the scaling's log|det J| of what each row holds; probabilities have none.


def test_a_log_density_gains_the_slopes_of_the_observed_columns_only() -> None:
    likelihood = mixed()
    vae = randomise(small_vae(likelihood), 0.3)
    x, mask = rows_for(likelihood, 40), torch.rand(40, 6) < 0.6
    mask[0] = False
    scaling = Standardize(6)
    scaling.scale.copy_(torch.rand(6) + 0.5)
    model = VAEModel(vae, scaling, [Column(f"x{i}", "float64") for i in range(6)])
    slopes = torch.where(likelihood.density_columns, -scaling.scale.log(), 0.0)
    gained = (mask * slopes).sum(-1)
    assert gained[0] == 0
    assert (gained != slopes.sum()).any()
    batch, rows = Batch(x, mask), RowsInMemory(Batch(x, mask))
    results = [evaluate(vae.eval(), [batch], rows, 20, log_slopes=s) for s in (None, model.log_slopes)]
    meters = [ELBOMeter(vae, s) for s in (None, model.log_slopes)]
    noise = vae.noise(1, 40)
    for meter in meters:
        meter.update(vae(batch, noise), batch, torch.zeros(()))
    moved = -gained.mean().item()
    for part in ("nelbo", "reconstruction", "nll", "baseline", "entropy_floor"):
        assert getattr(results[1], part) - getattr(results[0], part) == pytest.approx(moved, abs=1e-6), part
    before, after = (meter.compute() for meter in meters)
    for part, by in (("nelbo", moved), ("reconstruction", moved), ("kl", 0.0)):
        assert (after[part] - before[part]).item() == pytest.approx(by, abs=1e-9), part
    by_column = meters[1].nll_by_column - meters[0].nll_by_column
    torch.testing.assert_close(by_column, -(mask * slopes).mean(0))


# Law 5: every column states its greatest log-density; a loss below the floor is proof of a bug.


def test_no_column_exceeds_its_greatest_log_density_and_no_nelbo_falls_below_the_floor() -> None:
    offenders = []
    for scale in (0.1, 1.0, 10.0, 30.0):
        for name, likelihood in every_likelihood():
            vae = randomise(small_vae(likelihood), scale)
            x = rows_for(likelihood, 50)
            terms = forward(vae, x, num_samples=3)
            greatest, least = likelihood.max_log_prob(), likelihood.entropy_floor(x)
            assert (greatest.shape, least.shape) == ((6,), (50, 6)), name
            rounding = 1e-4 * greatest.abs() + 1e-5
            legal = {
                "finite": torch.isfinite(terms.log_px).all(),
                "column": (terms.log_px <= greatest + rounding).all(),
                "entropy": (-terms.log_px >= least - rounding).all(),
                "NELBO": (terms.nelbo >= -greatest.sum() - rounding.sum()).all(),
            }
            offenders += [f"{name}, weights of {scale}: {law}" for law, holds in legal.items() if not holds]
    assert not offenders


def test_a_perfect_decoder_with_no_spread_reaches_the_floor() -> None:
    """Rows without spread are the one case where a NELBO may touch the floor: the floor is not vacuous."""
    offenders = []
    for name, likelihood in every_likelihood():
        if not any(name.startswith(family) for family in ("gaussian", "laplace")) or name.endswith("predicted"):
            continue
        vae = small_vae(likelihood)
        x = torch.full((10, 6), 0.7)
        vae.start_from(RowsInMemory(Batch(x)))
        vae.heads.weight.data.zero_()
        floor = -likelihood.max_log_prob().sum()
        # A learned scale starts at 95 % of its bound, so that it can still move. A constant column's own is held above.
        room = -0.05 * 6 * math.log(likelihood.scale.floor) if likelihood.scale.kind == "shared" else 0.0
        if not torch.allclose(forward(vae, x).nelbo, floor + room, atol=1e-4):
            offenders.append(name)
    assert not offenders


# Law 6: an untrained model says that it knows nothing.


def test_an_untrained_model_has_no_kl_and_a_constant_decoder() -> None:
    offenders = []
    for options in VARIANTS:
        for name, likelihood in every_likelihood():
            vae = small_vae(likelihood, **options).eval()
            x = rows_for(likelihood, 64)
            rows = RowsInMemory(Batch(x))
            vae.start_from(rows)
            terms = forward(vae, x, num_samples=2)
            kl = terms.kl.sum(-1).mean()
            constant = likelihood(likelihood.start_from(rows)).log_prob(x)
            if not 0 <= kl < 0.05 * vae.features(Batch(x)).square().sum(-1).mean().clamp_min(1):
                offenders.append(f"{name} {options}: the KL is {kl:.3f}")
            if not torch.allclose(terms.log_px, constant.expand(2, 64, 6), rtol=1e-5, atol=1e-5):
                offenders.append(f"{name} {options}: the decoder is not constant")
    assert not offenders


@pytest.mark.parametrize("columns", [1, 16, 224])
def test_binary_columns_start_at_ln_2_each(columns: int) -> None:
    x = (torch.rand(500, columns) < 0.2).float()
    vae = VAE(Bernoulli(columns), 16, [128, 64, 32, 16])
    vae.start_from(RowsInMemory(Batch(x)))
    terms = forward(vae, x)
    assert terms.reconstruction.mean().item() == pytest.approx(columns * math.log(2), rel=1e-5)
    assert 0 <= terms.kl.sum(-1).mean().item() < 0.3
