"""The laws that hold everywhere (docs/design.md): for every family, at initialisation and for random networks."""

import ast
import copy
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import kl_divergence
from torch.func import functional_call, vmap

import vae_lightning
from vae_lightning.likelihoods.base import Likelihood, smooth_bound, smooth_bound_inverse
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.continuous_bernoulli import ContinuousBernoulli
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.elbo import Terms, elbo, iwae

pytestmark = pytest.mark.usefixtures("one_thread")

# The doctor examines what other people write, reductions and all.
SOURCES = sorted(path for path in Path(vae_lightning.__file__).parent.rglob("*.py") if "doctor" not in path.parts)
LIKELIHOODS = {
    "bernoulli": lambda c: Bernoulli(c),
    "continuous_bernoulli": lambda c: ContinuousBernoulli(c),
    **{
        f"gaussian-{v}": lambda c, v=v: Gaussian(c, v)
        for v in ("fixed", "shared", "per_column", "predicted", "optimal")
    },
}
VARIANTS = [
    {},
    {"hidden_dims": []},
    {"normalization": "layer"},
    {"normalization": "batch"},
    {"residual": True},
    {"dropout": 0.3},
    {"normalization": "batch", "residual": True, "dropout": 0.2, "activation": "gelu"},
    {"decoder_dims": [5, 9]},
]


@pytest.fixture(params=LIKELIHOODS)
def likelihood(request: pytest.FixtureRequest) -> Likelihood:
    return LIKELIHOODS[request.param](6)


def rows_for(likelihood: Likelihood, rows: int) -> Tensor:
    return likelihood(torch.randn(likelihood.raw_size * likelihood.num_columns)).sample((rows,)).detach()


def small_vae(likelihood: Likelihood, **options) -> VAE:
    return VAE(likelihood, latent_dim=3, **{"hidden_dims": [12, 8], **options})


def randomise(vae: VAE, scale: float) -> VAE:
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.normal_(0, scale)
    return vae


def evaluate(vae: VAE, x: Tensor, num_samples: int = 1, densities: bool = False) -> Terms:
    return vae.terms(x, vae(x, num_samples), densities)


# Law 1: sums over columns and latent dimensions, means over examples.


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_reduction_argument_exists(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            assert "reduction" not in [keyword.arg for keyword in node.keywords], f"{path}:{node.lineno}"
        if isinstance(node, ast.arg):
            assert node.arg != "reduction", f"{path}:{node.lineno}"


def test_doubling_the_batch_does_not_move_the_loss(likelihood: Likelihood) -> None:
    vae = randomise(small_vae(likelihood), 0.3)
    x = rows_for(likelihood, 10)
    posterior = vae.encode(x)
    z = posterior.rsample(4)
    output = vae(x)._replace(posterior=posterior, z=z, px=vae.decode(z))
    twice = vae.encode(torch.cat([x, x]))
    both = output._replace(posterior=twice, z=torch.cat([z, z], 1), px=vae.decode(torch.cat([z, z], 1)))
    for bound in (elbo, iwae):
        once = bound(vae.terms(x, output, densities=True)).mean()
        torch.testing.assert_close(bound(vae.terms(torch.cat([x, x]), both, densities=True)).mean(), once)


def test_doubling_the_columns_doubles_the_reconstruction() -> None:
    x = torch.rand(8, 5).round()
    for c, rows in ((5, x), (10, torch.cat([x, x], 1))):
        log_px = evaluate(small_vae(Bernoulli(c)), rows).log_px
        torch.testing.assert_close(log_px, torch.full((1, 8), -c * math.log(2)))


def test_a_row_does_not_depend_on_the_rest_of_its_batch(likelihood: Likelihood) -> None:
    vae = randomise(small_vae(likelihood), 0.3)
    x = rows_for(likelihood, 10)
    for ours, alone in zip(vae.encode(x), zip(*(vae.encode(row[None]) for row in x), strict=True), strict=True):
        torch.testing.assert_close(ours, torch.cat(alone))


# Law 2: the reparameterised draw and the KL.


def test_a_draw_is_loc_plus_scale_times_eps() -> None:
    vae = randomise(small_vae(Bernoulli(6)), 0.5)
    x = torch.rand(7, 6)
    loc, log_var = vae.encode(x)
    torch.manual_seed(5)
    z = vae(x, num_samples=4).z
    torch.manual_seed(5)
    eps = torch.randn(4, 7, 3)
    torch.testing.assert_close(z, loc + torch.exp(log_var / 2) * eps, rtol=1e-6, atol=1e-6)


def test_every_row_draw_and_dimension_has_an_eps_of_its_own() -> None:
    vae = small_vae(Bernoulli(6))
    z = vae(torch.rand(7, 6)[:1].expand(7, 6), num_samples=4).z
    assert z.shape == (4, 7, 3)
    assert z.unique().numel() == z.numel()


def test_draws_carry_the_gradient_to_loc_and_log_var() -> None:
    vae = randomise(small_vae(Bernoulli(6)), 0.5)
    (-elbo(evaluate(vae, torch.rand(7, 6))).mean()).backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_kl_is_the_one_of_torch_distributions(likelihood: Likelihood) -> None:
    vae = randomise(small_vae(likelihood), 0.5)
    x = rows_for(likelihood, 20)
    loc, log_var = vae.encode(x)
    truth = kl_divergence(torch.distributions.Normal(loc, torch.exp(log_var / 2)), torch.distributions.Normal(0.0, 1.0))
    kl = evaluate(vae, x).kl
    torch.testing.assert_close(kl, truth, rtol=1e-5, atol=1e-6)
    assert (kl >= 0).all()


def test_one_sample_kl_may_be_negative_but_its_mean_may_not() -> None:
    vae = randomise(small_vae(Bernoulli(6)), 0.3)
    terms = evaluate(vae, torch.rand(20, 6), num_samples=20_000, densities=True)
    one_sample = terms.log_qz - terms.log_pz
    kl = terms.kl.sum(-1)
    error = one_sample.std(0) / math.sqrt(20_000)
    assert (one_sample < 0).any()
    assert (kl > 0).all()
    assert ((one_sample.mean(0) - kl).abs() < 5 * error).all()


# Law 3: the smooth bound of log_var.


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
def test_log_var_stays_within_its_bound_for_any_weights(scale: float) -> None:
    vae = randomise(small_vae(Bernoulli(6), log_var_bound=4.0), scale)
    assert (vae.encode(torch.rand(50, 6)).log_var.abs() <= 4.0).all()


def test_an_unbounded_head_shows_through_the_bound_near_zero() -> None:
    vae = small_vae(Bernoulli(6))
    vae.heads.bias.data[3:] = 0.1
    torch.testing.assert_close(vae.encode(torch.rand(5, 6)).log_var, torch.full((5, 3), 0.1), rtol=1e-4, atol=0)


# Law 5: a loss below the floor is proof of a bug.


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 30.0])
def test_nelbo_never_falls_below_its_floor(likelihood: Likelihood, scale: float) -> None:
    vae = randomise(small_vae(likelihood), scale)
    x = rows_for(likelihood, 50)
    terms = evaluate(vae, x, num_samples=3)
    floor = -likelihood.max_log_prob().sum()
    rounding = 1e-4 * floor.abs() + 1e-5
    assert torch.isfinite(terms.log_px).all()
    assert (-terms.log_px >= likelihood.entropy_floor(x) - rounding).all()
    assert (-elbo(terms) >= floor - rounding).all()


def test_a_perfect_decoder_with_no_spread_reaches_the_floor() -> None:
    """Rows without spread are the one case where a NELBO may touch the floor: the floor is not vacuous."""
    likelihood = Gaussian(6, "optimal")
    vae = small_vae(likelihood)
    x = torch.full((10, 6), 0.7)
    vae.start_from(x)
    vae.heads.weight.data.zero_()
    nelbo = -elbo(evaluate(vae, x))
    torch.testing.assert_close(nelbo, -likelihood.max_log_prob().sum().expand(10))


# Law 6: an untrained model says that it knows nothing.


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_an_untrained_model_has_no_kl_and_a_constant_decoder(likelihood: Likelihood, options: dict) -> None:
    vae = small_vae(likelihood, **options).eval()
    x = rows_for(likelihood, 64)
    vae.start_from(x)
    terms = evaluate(vae, x, num_samples=2)
    assert 0 <= terms.kl.sum(-1).mean() < 0.05 * x.square().sum(-1).mean().clamp_min(1)
    constant = likelihood(likelihood.start_from(x)).log_prob(x).sum(-1)
    torch.testing.assert_close(terms.log_px, constant.detach().expand(2, 64))


@pytest.mark.parametrize("columns", [1, 16, 224])
def test_binary_columns_start_at_ln_2_each(columns: int) -> None:
    x = (torch.rand(500, columns) < 0.2).float()
    vae = VAE(Bernoulli(columns), 16, [128, 64, 32, 16])
    vae.start_from(x)
    terms = evaluate(vae, x)
    assert -terms.log_px.mean().item() == pytest.approx(columns * math.log(2), rel=1e-5)
    assert 0 <= terms.kl.sum(-1).mean().item() < 0.3


# NELBO, whatever trains.


def test_nelbo_is_reconstruction_plus_kl(likelihood: Likelihood) -> None:
    terms = evaluate(randomise(small_vae(likelihood), 0.3), rows_for(likelihood, 30), num_samples=5)
    reconstruction, kl = -terms.log_px.mean(), terms.kl.sum(-1).mean()
    torch.testing.assert_close(-elbo(terms).mean(), reconstruction + kl, rtol=1e-6, atol=1e-5)


# Sizes, variants and transformations of the network.


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_every_variant_has_the_shapes_of_the_design(likelihood: Likelihood, options: dict, training: bool) -> None:
    vae = small_vae(likelihood, **options).train(training)
    x = rows_for(likelihood, 10)
    output = vae(x, num_samples=4)
    terms = vae.terms(x, output, densities=True)
    assert [tuple(t.shape) for t in output.posterior] == [(10, 3)] * 2
    assert tuple(output.z.shape) == (4, 10, 3)
    assert tuple(output.px.batch_shape) == (4, 10, 6)
    assert [tuple(t.shape) for t in terms] == [(4, 10), (10, 3), (4, 10), (4, 10)]
    assert tuple(vae.reconstruct(x).shape) == (10, 6)
    assert tuple(vae.sample(9).shape) == tuple(vae.sample(9, mean=True).shape) == (9, 6)
    assert likelihood.support.check(vae.sample(9)).all()


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_decoding_draws_together_is_decoding_them_row_by_row(likelihood: Likelihood, options: dict) -> None:
    vae = randomise(small_vae(likelihood, **options), 0.4).eval()
    x, z = rows_for(likelihood, 5), torch.randn(4, 5, 3)
    together = vae.decode(z).log_prob(x)
    for s, b in ((0, 0), (1, 4), (3, 2)):
        torch.testing.assert_close(together[s, b], vae.decode(z[s, b]).log_prob(x[b]), rtol=1e-4, atol=1e-4)


def test_a_reconstruction_is_the_decoded_posterior_mean(likelihood: Likelihood) -> None:
    vae = randomise(small_vae(likelihood), 0.4)
    x = rows_for(likelihood, 5)
    torch.testing.assert_close(vae.reconstruct(x), vae.decode(vae.encode(x).loc).mean)


def test_torch_func_maps_over_models(likelihood: Likelihood) -> None:
    """An ensemble in one call: forward has no state of its own and no branch that depends on the data."""
    models = [randomise(small_vae(copy.deepcopy(likelihood)), 0.3) for _ in range(3)]
    states = [{**dict(m.named_parameters()), **dict(m.named_buffers())} for m in models]
    stacked = {name: torch.stack([s[name].detach() for s in states]) for name in states[0]}
    x = rows_for(likelihood, 8)

    class Evaluate(torch.nn.Module):
        def __init__(self, vae: VAE) -> None:
            super().__init__()
            self.vae = vae

        def forward(self, z: Tensor) -> Terms:
            output = self.vae(x)
            return self.vae.terms(x, output._replace(z=z, px=self.vae.decode(z)), densities=True)

    z = torch.randn(2, 8, 3)
    shell = Evaluate(models[0])

    def one(state: dict[str, Tensor]) -> Terms:
        return functional_call(shell, {f"vae.{name}": value for name, value in state.items()}, (z,))

    mapped = vmap(one, randomness="different")(stacked)
    for index, model in enumerate(models):
        alone = Evaluate(model)(z)
        for ours, truth in zip(mapped, alone, strict=True):
            torch.testing.assert_close(ours[index], truth, rtol=1e-4, atol=1e-4)


def test_forward_leaves_the_model_as_it_was(likelihood: Likelihood) -> None:
    vae = small_vae(likelihood)
    before = copy.deepcopy(vae.state_dict())
    x = rows_for(likelihood, 8)
    elbo(evaluate(vae, x)).mean().backward()
    for name, value in vae.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"latent_dim": 0}, "The 'latent_dim' parameter of VAE must be at least 1. Got 0 instead."),
        ({"log_var_bound": 0.0}, "The 'log_var_bound' parameter of VAE must be positive and finite. Got 0.0 instead."),
    ],
)
def test_bad_parameters_get_the_one_sentence(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match="must be") as error:
        VAE(Bernoulli(3), **options)
    assert str(error.value) == sentence
