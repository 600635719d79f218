"""What a VAE does with a batch: masks, conditions, weights and noise, in everything that is computed from it."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from vae_lightning.data.batch import Batch
from vae_lightning.data.seeds import random_stream
from vae_lightning.data.store import RowsInMemory
from vae_lightning.inference.evaluation import evaluate
from vae_lightning.inference.importance import log_prob
from vae_lightning.inference.metrics import ELBOMeter
from vae_lightning.inference.scoring import noise as scoring_noise
from vae_lightning.inference.scoring import scores
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.by_column import ByColumn
from vae_lightning.likelihoods.categorical import Categorical
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.laplace import Laplace
from vae_lightning.likelihoods.poisson import Poisson
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Objective, Weights
from vae_lightning.objectives.elbo import ELBO
from vae_lightning.objectives.iwae import IWAE
from vae_lightning.priors.mixture import Mixture
from vae_lightning.training.step import loss_and_statistics

pytestmark = pytest.mark.usefixtures("one_thread")

B, C, L = 12, 4, 2
FAMILIES: dict[str, Callable[[], Likelihood]] = {
    "gaussian": lambda: Gaussian(C, "predicted"),
    "optimal": lambda: Gaussian(C, "optimal"),
    "laplace": lambda: Laplace(C, "per_column"),
    "poisson": lambda: Poisson(C),
    "categorical": lambda: Categorical(C, 3),
    "embedded": lambda: ByColumn(C, [(Categorical(2, 40), [3, 1]), (Categorical(1, 5), [0]), (Gaussian(1), [2])]),
    "mixed": lambda: ByColumn(C, [(Gaussian(2, "optimal"), [3, 0]), (Poisson(1), [1]), (Bernoulli(1), [2])]),
}
JUNK = (math.nan, math.inf, 1e30)


@pytest.fixture(params=FAMILIES)
def vae(request: pytest.FixtureRequest) -> VAE:
    return small(FAMILIES[request.param]())


def small(likelihood: Likelihood, scale: float = 0.3, **options: Any) -> VAE:
    vae = VAE(likelihood, L, **{"hidden_dims": [8], "prior": Mixture(L, 3), **options})
    for parameter in vae.parameters():
        parameter.data.normal_(0, scale)
    return vae.double()


def rows(vae: VAE, size: int = B) -> Tensor:
    likelihood = vae.likelihood
    return likelihood(torch.randn(likelihood.raw_size, dtype=torch.float64).expand(size, -1)).sample()


def half_masked(vae: VAE) -> Batch:
    mask = torch.rand(B, C) < 0.6
    mask[0], mask[1] = False, True
    return Batch(rows(vae), mask)


def step(vae: VAE, objective: Objective, batch: Batch, noise: Tensor) -> list[Tensor]:
    """Loss, statistics and every gradient."""
    vae.zero_grad()
    loss, statistics = loss_and_statistics(vae, objective, batch, noise, Weights(0.7))
    loss.backward()
    parts = [statistics.terms, torch.as_tensor(statistics.weight).double(), statistics.observed, statistics.fitted]
    gradients = [parameter.grad for parameter in vae.parameters() if parameter.grad is not None]
    return [loss, *(part for part in parts if part is not None), *(gradient.clone() for gradient in gradients)]


def rising_slopes(batch: Batch) -> Tensor:
    """What each cell's log-density gains: 0, 1, 2 ... in the columns where they are observed."""
    slopes = torch.arange(C).double().expand(batch.x.shape)
    return slopes if batch.mask is None else slopes * batch.mask


def everything(vae: VAE, batch: Batch) -> list[Tensor]:
    """All that this package computes of a batch."""
    noise = torch.randn(3, batch.num_rows, L, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    found = [part for objective in (ELBO(), IWAE()) for part in step(vae, objective, batch, noise)]
    with torch.no_grad(), random_stream(0):
        terms = vae(batch, noise, densities=True)
        meter = ELBOMeter(vae, rising_slopes)
        meter.update(terms, batch, vae.likelihood.at_floor(terms.px))
        found += [terms.posterior.mean, terms.posterior.stddev, terms.z, terms.log_px, terms.kl, terms.nelbo]
        found += [vae.features(batch), vae.reconstruct(batch), *meter.compute().values(), meter.nll_by_column]
        found += [*log_prob(vae, batch, 5), *scores(vae, batch, scoring_noise(vae, 4))]
        evaluation = evaluate(vae, [batch], RowsInMemory(batch), 5, log_slopes=rising_slopes)
    started = copy.deepcopy(vae)
    started.start_from(RowsInMemory(batch))
    values = [value for name, value in evaluation.as_dict().items() if name != "control_words"]
    # No control was given: what would be said of it is NaN, which equals nothing.
    numbers = torch.tensor(values, dtype=torch.float64).nan_to_num(nan=-12345.0)
    return [*found, numbers, *started.state_dict().values()]


# Masks.


@pytest.mark.parametrize("sees_mask", [False, True])
def test_whatever_stands_in_a_masked_cell_changes_nothing(vae: VAE, sees_mask: bool) -> None:
    if sees_mask:
        vae = small(vae.likelihood, sees_mask=True)
    batch = half_masked(vae)
    truth = everything(vae, batch)
    assert all(torch.isfinite(value).all() for value in truth)
    for junk in JUNK:
        found = everything(vae, batch._replace(x=torch.where(batch.mask, batch.x, junk)))
        for ours, theirs in zip(found, truth, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_a_mask_that_hides_nothing_is_no_mask(vae: VAE) -> None:
    x = rows(vae)
    noise = torch.randn(3, B, L, dtype=torch.float64)
    plain, masked = (vae(Batch(x, mask), noise) for mask in (None, torch.ones(B, C, dtype=torch.bool)))
    torch.testing.assert_close(masked.log_px, plain.log_px)
    torch.testing.assert_close(masked.kl, plain.kl)


def test_a_masked_cell_has_no_density_and_no_other_cell_loses_its_own(vae: VAE) -> None:
    batch = half_masked(vae)
    noise = torch.randn(3, B, L, dtype=torch.float64)
    terms = vae(batch, noise)
    full = terms.px.log_prob(batch.x)
    torch.testing.assert_close(terms.log_px, torch.where(batch.mask, full, 0.0))
    loss, statistics = loss_and_statistics(vae, ELBO(), batch, noise, Weights())
    truth = -torch.where(batch.mask, full, 0.0).sum(-1).mean() + terms.kl.sum(-1).mean()
    torch.testing.assert_close(loss, truth)
    torch.testing.assert_close(statistics.observed, batch.mask.double().mean(0))


def test_a_row_without_an_observed_cell_scores_as_nothing_where_its_posterior_is_the_prior(vae: VAE) -> None:
    """log p of no cell is log 1."""
    with torch.no_grad():
        vae = small(vae.likelihood, prior=None)
        vae.heads.weight.zero_()
        vae.heads.bias.zero_()
    batch = half_masked(vae)
    assert abs(log_prob(vae, batch, 3).log_prob[0]) < 1e-12


def test_only_an_encoder_that_sees_the_mask_tells_a_hole_from_its_filling() -> None:
    for sees_mask in (False, True):
        vae = small(Gaussian(C), sees_mask=sees_mask)
        x, mask = rows(vae), torch.ones(B, C, dtype=torch.bool)
        x[:, 1] = 0.0  # what holes of real numbers are filled with
        mask[:, 1] = False
        told = (vae.encode(Batch(x, mask)).mean - vae.encode(Batch(x)).mean).abs().max() > 1e-3
        assert bool(told) == sees_mask
        assert vae.features.size == C * (1 + sees_mask)


# Conditions.


def conditional(sees_mask: bool = False) -> tuple[VAE, Batch]:
    vae = small(Gaussian(C), condition_size=3, sees_mask=sees_mask)
    return vae, Batch(rows(vae), None, torch.randn(B, 3, dtype=torch.float64))


@pytest.mark.parametrize("sees_mask", [False, True])
def test_encoder_and_decoder_are_told_the_condition(sees_mask: bool) -> None:
    vae, batch = conditional(sees_mask)
    other = batch._replace(condition=batch.condition.flip(0))
    assert not torch.isclose(vae.encode(batch).mean, vae.encode(other).mean).any()
    z = torch.randn(3, B, L, dtype=torch.float64)
    assert not torch.isclose(vae.decode(z, batch.condition).mean, vae.decode(z, other.condition).mean).any()
    assert len(vae.sample(B, condition=batch.condition)) == B


def test_a_rows_condition_travels_with_the_row() -> None:
    vae, batch = conditional()
    whole = everything(vae, batch)
    turned = everything(vae, Batch(batch.x.flip(0), None, batch.condition.flip(0)))
    assert len(whole) == len(turned)
    noise = torch.randn(2, B, L, dtype=torch.float64)
    forward = vae(batch, noise).nelbo
    backward = vae(Batch(batch.x.flip(0), None, batch.condition.flip(0)), noise.flip(1)).nelbo
    torch.testing.assert_close(backward.flip(0), forward)
    one, other = (scores(vae, part, scoring_noise(vae, 4)).nll for part in (batch, batch.select(torch.tensor([3]))))
    torch.testing.assert_close(other[0], one[3])


def test_a_condition_of_another_size_is_refused() -> None:
    vae, batch = conditional()
    for wrong, size in ((None, 0), (torch.zeros(B, 2).double(), 2)):
        for call in (vae.encode, vae.reconstruct):
            with pytest.raises(
                ValueError, match=rf"^The 'condition' of a batch must have 3 numbers a row\. Got {size} "
            ):
                call(batch._replace(condition=wrong))
    with pytest.raises(ValueError, match="must have 0 numbers a row"):
        small(Gaussian(C)).encode(batch)


# Weights of rows.


def test_a_row_of_weight_two_is_the_row_twice(vae: VAE) -> None:
    batch = half_masked(vae)
    times = torch.arange(B) % 3
    noise = torch.randn(2, B, L, dtype=torch.float64)
    again = Batch(*(None if part is None else part.repeat_interleave(times, 0) for part in batch))
    weighted = batch._replace(weight=times.double())
    for objective in (ELBO(), IWAE()):
        one = step(vae, objective, weighted, noise)
        other = step(vae, objective, again, noise.repeat_interleave(times, 1))
        for ours, truth in zip(one, other, strict=True):
            torch.testing.assert_close(ours, truth)


@pytest.mark.parametrize("encodes", [False, True])
def test_evaluation_counts_a_row_by_its_weight(vae: VAE, encodes: bool) -> None:
    """A decoder that ignores z: the draws make no difference, to the NLL only where the encoder says N(0, I)."""
    with torch.no_grad():
        vae = small(vae.likelihood, prior=None)
        for name, parameter in vae.named_parameters():
            ignores_z = name in ("output.weight", "linear_decoder.weight")
            if ignores_z or (not encodes and name.startswith(("heads", "linear_encoder"))):
                parameter.zero_()
    times = torch.arange(B) % 3
    batch = half_masked(vae)
    again = Batch(*(None if part is None else part.repeat_interleave(times, 0) for part in batch))
    one, other = (
        evaluate(vae, part, RowsInMemory(batch), 20, log_slopes=rising_slopes).as_dict()
        for part in ([batch._replace(weight=times.double())], again.split(5))
    )
    drawn = {name for name in one if "nll" in name or "bits" in name} if encodes else set()
    # A row that counts twice is not two rows: it makes a mean no surer.
    of_single_rows = {name for name in one if name.endswith("standard_error")} | {"extreme_share"}
    for name in set(one) - {"num_rows", "control_words"} - of_single_rows - drawn:
        assert one[name] == pytest.approx(other[name], abs=1e-9, nan_ok=True), name
    assert (one["kl"] > 0.01) == encodes


# The step is a pure function of the noise.


@pytest.mark.parametrize("objective", [ELBO(), IWAE()], ids=["elbo", "iwae"])
def test_the_same_noise_gives_the_same_step_and_changes_nothing(vae: VAE, objective: Objective) -> None:
    batch, noise = half_masked(vae), vae.noise(2, B)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    stream = torch.get_rng_state()
    one, other = step(vae, objective, batch, noise), step(vae, objective, batch, noise)
    for ours, truth in zip(one, other, strict=True):
        torch.testing.assert_close(ours, truth, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), stream)
    for name, value in vae.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


class Step(nn.Module):
    """The loss as a module, so that torch.func can call it with other parameters."""

    def __init__(self, vae: VAE, objective: Objective) -> None:
        super().__init__()
        self.vae = vae
        self.objective = objective

    def forward(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Tensor]:
        loss, statistics = loss_and_statistics(self.vae, self.objective, batch, noise, Weights())
        return loss, statistics.terms


@pytest.mark.parametrize("objective", [ELBO(), IWAE()], ids=["elbo", "iwae"])
def test_torch_func_maps_the_step_over_models(vae: VAE, objective: Objective) -> None:
    models = [Step(small(copy.deepcopy(vae.likelihood)), objective) for _ in range(3)]
    parameters, buffers = stack_module_state(models)
    batch, noise = half_masked(vae), torch.randn(3, 2, B, L, dtype=torch.float64)
    batch = batch._replace(weight=torch.rand(B, dtype=torch.float64))

    def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], noise: Tensor) -> tuple[Tensor, Tensor]:
        return functional_call(models[0], (parameters, buffers), (batch, noise))

    gradients, (losses, terms) = vmap(grad_and_value(one, has_aux=True))(parameters, buffers, noise)
    for index, model in enumerate(models):
        loss, alone = model(batch, noise[index])
        loss.backward()
        torch.testing.assert_close(losses[index], loss)
        torch.testing.assert_close(terms[index], alone)
        for name, parameter in model.named_parameters():
            truth = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(gradients[name][index], truth)


def test_the_step_is_one_graph(vae: VAE) -> None:
    """torch.compile finds no break in it: whatever compiles graphs can have it whole."""
    torch.compiler.reset()
    batch, noise = half_masked(vae), vae.noise(2, B)
    step = Step(vae, IWAE())  # which evaluates whatever the ELBO does
    compiled = torch.compile(step, fullgraph=True, backend="eager")
    for ours, truth in zip(compiled(batch, noise), step(batch, noise), strict=True):
        torch.testing.assert_close(ours, truth)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:`torch.jit")  # which torch's own compiler uses
def test_the_compiled_step_has_the_same_gradients(vae: VAE) -> None:
    torch.compiler.reset()
    batch, noise = half_masked(vae), vae.noise(2, B)
    compiled = torch.compile(Step(vae, IWAE()), fullgraph=True)
    gradients = []
    for step in (compiled, Step(vae, IWAE())):
        vae.zero_grad()
        step(batch, noise)[0].backward()
        gradients.append([parameter.grad for parameter in vae.parameters() if parameter.grad is not None])
    for ours, truth in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, truth)
