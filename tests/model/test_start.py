"""The law of the linear start: the first NELBO is factor analysis' negative log-likelihood, in its closed forms."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.conftest import SHARED_DATA
from vae_lightning.controls.factor_model import FactorAnalysis
from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.by_column import ByColumn
from vae_lightning.likelihoods.categorical import Categorical
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.laplace import Laplace
from vae_lightning.likelihoods.poisson import Poisson
from vae_lightning.likelihoods.scale import SCALE_KINDS, ScaleKind
from vae_lightning.model.start import start_model
from vae_lightning.model.vae import VAE
from vae_lightning.posteriors.gaussian import DiagonalGaussian
from vae_lightning.posteriors.gaussian import Gaussian as GaussianPosterior
from vae_lightning.priors.mixture import Mixture

pytestmark = pytest.mark.usefixtures("one_thread")

C, L = 8, 3
Parts = tuple[Tensor, Tensor, Tensor]


def rows(x: Tensor) -> RowsInMemory:
    return RowsInMemory(Batch(x))


def standardised(x: np.ndarray, seed: int = 0) -> Parts:
    """Eight tenths to train on, a tenth to validate and to test; float32, the training columns' mean 0, variance 1."""
    order, tenth = np.random.default_rng(seed).permutation(len(x)), max(1, round(0.1 * len(x)))
    parts = x[order[2 * tenth :]], x[order[tenth : 2 * tenth]], x[order[:tenth]]
    mean, scale = parts[0].mean(0), parts[0].std(0)
    scale[scale == 0] = 1
    train, valid, test = (torch.tensor((part - mean) / scale, dtype=torch.float32) for part in parts)
    return train, valid, test


def synthetic(num_rows: int = 1500, noise: float = 0.4, columns: int = C) -> Parts:
    draws = np.random.default_rng(3)
    x = draws.normal(size=(num_rows, L)) @ draws.normal(size=(L, columns))
    return standardised(x + noise * draws.normal(size=x.shape) * draws.uniform(0.5, 1.5, columns))


def started(
    likelihood: Likelihood, train: Tensor, valid: Tensor, latent_dim: int = L, **options
) -> tuple[VAE, FactorAnalysis]:
    vae = VAE(likelihood, latent_dim, **{"hidden_dims": [16], **options})
    start = start_model(vae, rows(train), rows(valid))
    assert start is not None
    return vae.eval(), start.factors


@torch.no_grad()
def nelbo_of(vae: VAE, x: Tensor, draws: int = 400) -> tuple[float, float]:
    """The mean NELBO of rows and its standard error over the draws, nats per row."""
    at_once = max(1, 2_000_000 // x.numel())
    passes = [vae(Batch(x), vae.noise(min(at_once, draws - done), len(x))) for done in range(0, draws, at_once)]
    by_draw = torch.cat([(one.kl.sum(-1) - one.log_px.double().sum(-1)).mean(-1) for one in passes])
    return by_draw.mean().item(), by_draw.std().item() / len(by_draw) ** 0.5


def check_law(vae: VAE, factors: FactorAnalysis, x: Tensor) -> None:
    found, error = nelbo_of(vae, x)
    truth = -factors.log_prob(Batch(x)).mean().item()
    # Six standard errors of the draws, and what float32 loses of nats.
    assert found == pytest.approx(truth, abs=6 * error + 1e-4 * (1 + abs(truth)))


# The law.


@pytest.mark.parametrize("kind", SCALE_KINDS)
@pytest.mark.parametrize("part", ["train", "test"])
def test_the_first_nelbo_is_factor_analysis_negative_log_likelihood(kind: ScaleKind, part: str) -> None:
    train, valid, test = synthetic()
    scale = {"scale": 0.6} if kind == "fixed" else {}
    vae, factors = started(Gaussian(C, kind, **scale), train, valid)
    assert factors.signal.gt(0.1).all()
    check_law(vae, factors, train if part == "train" else test)


@pytest.mark.parametrize("share", [0.5, 0.1, 1e-3])
@pytest.mark.parametrize("kind", ["per_column", "predicted", "optimal"])
def test_the_law_holds_whatever_share_of_the_noise_z_tells(kind: ScaleKind, share: float) -> None:
    """One density of rows, split in another way between z and the noise."""
    train, valid, test = synthetic()
    vae = VAE(Gaussian(C, kind), C + 2, [16])
    start = start_model(vae, rows(train), rows(valid))
    assert start is not None
    other = start.with_noise(share, vae)
    assert other is not None
    torch.testing.assert_close(other.factors.noise, share * start.factors.noise)
    torch.testing.assert_close(covariance(other.factors), covariance(start.factors))
    other.apply(vae)
    check_law(vae.eval(), start.factors, test)
    with torch.no_grad():  # at least 1 / share times as much of each direction as its noise; two have nothing to tell
        assert vae.encode(Batch(test)).stddev[:, :C].max() < 1.001 * share**0.5


def covariance(factors: FactorAnalysis) -> Tensor:
    return factors.loadings @ factors.loadings.T + factors.noise.diag()


def test_noise_that_is_given_or_that_z_has_no_room_for_stays() -> None:
    train, valid, _ = synthetic()
    for likelihood, latent_dim in ((Gaussian(C), C - 1), (Gaussian(C, "fixed", scale=0.6), C)):
        vae = VAE(likelihood, latent_dim, [16])
        start = start_model(vae, rows(train), rows(valid))
        assert start is not None
        assert start.with_noise(0.1, vae) is None


def tecator(read: Callable) -> np.ndarray:
    return read("tecator.npz")["x"]


def crime(read: Callable) -> np.ndarray:
    x = read("communities_crime.npz")["x"]
    return x[:, ~np.isnan(x).any(0)]


def wine(read: Callable) -> np.ndarray:
    archive = read("hivae_wine.npz")
    kinds = [str(kind).partition(",")[0] for kind in archive["types"]]
    return archive["x"][:, [kind in ("real", "pos", "count") for kind in kinds]]


def magic(_: Callable) -> np.ndarray:
    path = SHARED_DATA / "magic.csv.gz"
    if not path.exists():
        pytest.skip(f"needs magic.csv.gz, which is not in {SHARED_DATA}")
    return pd.read_csv(path).select_dtypes("number").to_numpy(float)


TABLES = {
    "tecator": tecator,
    "mfeat fourier": lambda read: read("mfeat.npz")["fourier"],
    "mfeat pixel": lambda read: read("mfeat.npz")["pixel"].astype(float),
    "crime": crime,
    "wine": wine,
    "magic": magic,
}


@pytest.mark.parametrize("kind", ["per_column", "predicted", "shared", "fixed", "optimal"])
@pytest.mark.parametrize("name", TABLES)
def test_the_law_holds_on_real_tables(name: str, kind: ScaleKind, shared_data: Callable) -> None:
    train, valid, test = standardised(TABLES[name](shared_data))
    vae, factors = started(Gaussian(train.shape[1], kind), train, valid, 16)
    check_law(vae, factors, test[:400])


# Closed forms: probabilistic PCA (Tipping & Bishop 1999), its posterior and its KL (Lucas et al. 2019).


@pytest.mark.parametrize("kind", ["shared", "optimal"])
def test_a_tied_variance_starts_at_the_optimum_of_probabilistic_pca(kind: ScaleKind) -> None:
    """max log p, and the mean KL ½ log(λ_j / s²) of each latent over the training rows."""
    train, valid, _ = synthetic(6000)
    vae, factors = started(Gaussian(C, kind), train, valid)
    values = torch.linalg.eigvalsh(torch.cov(train.double().T, correction=0)).flip(0)
    noise = values[L:].mean()
    optimum = -0.5 * (C * np.log(2 * np.pi) + values[:L].log().sum() + (C - L) * noise.log() + C).item()
    # At most as many imagined rows as validation likes, and a fit that ends within 1e-5 nats a column.
    assert factors.log_prob(Batch(train)).mean().item() == pytest.approx(optimum, abs=1e-2)
    found, error = nelbo_of(vae, train, 100)
    assert -found == pytest.approx(optimum, abs=6 * error + 1e-2)
    with torch.no_grad():
        kl = vae(Batch(train), vae.noise(1, len(train))).kl.double().mean(0)
        stddev = vae.decode(torch.zeros(1, L)).stddev.double()
    torch.testing.assert_close(kl.sort(descending=True).values, 0.5 * (values[:L] / noise).log(), rtol=0, atol=2e-2)
    torch.testing.assert_close(stddev.square().max(), noise, rtol=1e-2, atol=0)


@pytest.mark.parametrize("kind", ["per_column", "shared"])
def test_its_posterior_is_the_exact_one(kind: ScaleKind) -> None:
    """Mean M⁻¹Wᵀψ⁻¹(x - μ), covariance M⁻¹, M = I + Wᵀψ⁻¹W."""
    train, valid, test = synthetic()
    vae, factors = started(Gaussian(C, kind), train, valid)
    whitened = factors.loadings / factors.noise[:, None]
    inverse = torch.linalg.inv(torch.eye(L).double() + factors.loadings.T @ whitened)
    mean = (test.double() - factors.mean) @ whitened @ inverse
    with torch.no_grad():
        q = vae.encode(Batch(test))
    torch.testing.assert_close(q.mean.double(), mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(q.stddev.double().square(), inverse.diagonal().expand(q.mean.shape), rtol=1e-4, atol=0)
    assert (inverse - torch.diag(inverse.diagonal())).abs().max() < 1e-9


def test_a_fixed_variance_uses_the_directions_above_it_alone() -> None:
    """A latent is active where its eigenvalue exceeds s²: of s = 0.9 fewer than of s = 0.3."""
    train, valid, _ = synthetic()
    values = torch.linalg.eigvalsh(torch.cov(train.double().T, correction=0)).flip(0)
    for scale in (0.3, 0.9, 1.5):
        _, factors = started(Gaussian(C, "fixed", scale=scale), train, valid, C)
        assert (factors.signal > 1e-6).sum() <= (values > scale**2).sum()
        torch.testing.assert_close(factors.noise, torch.full((C,), scale**2).double(), rtol=1e-6, atol=0)


def test_draws_have_the_covariance_of_factor_analysis() -> None:
    train, valid, _ = synthetic()
    vae, factors = started(Gaussian(C), train, valid)
    x = vae.sample(40_000).double()
    whole = factors.loadings @ factors.loadings.T + torch.diag(factors.noise)
    torch.testing.assert_close(torch.cov(x.T), whole, rtol=0, atol=0.05)


def test_more_latents_than_columns_and_masked_rows_are_no_obstacle() -> None:
    train, valid, test = synthetic(columns=4)
    vae, factors = started(Gaussian(4), train, valid, 9)
    check_law(vae, factors, test)
    mask = torch.rand(train.shape) < 0.8
    vae = VAE(Gaussian(4), 2, [8], sees_mask=True)
    holed = RowsInMemory(Batch(torch.where(mask, train, torch.nan), mask))
    start = start_model(vae, holed, rows(valid))
    assert start is not None
    check_law(vae.eval(), start.factors, test)


def test_near_copies_start_with_the_small_noise_that_they_have() -> None:
    """σ far below a thousandth of a column's spread is neither held up nor lost in float32."""
    draws = np.random.default_rng(0)
    x = draws.normal(size=(1000, 3))
    train, valid, test = standardised(np.concatenate([x, x + 1e-3 * draws.normal(size=x.shape)], 1))
    vae, factors = started(Gaussian(6), train, valid, 6)
    assert factors.noise.min() < 1e-5
    check_law(vae, factors, test)


def test_the_encoder_does_not_see_a_column_that_hardly_ever_differs() -> None:
    """A pixel that was lit in three of 1,200 pictures: its trained weights are chance, times what it holds."""
    train, valid, test = synthetic()
    for part in (train, valid, test):
        part[:, 0] = 0.0
    train[:3, 0] = 20.0
    vae, factors = started(Gaussian(C), train, valid)
    assert not factors.loadings[0].any()
    assert factors.loadings[1:].any()
    check_law(vae, factors, test)
    for parameter in vae.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    lit = test.clone()
    lit[:, 0] = 1e4
    assert torch.equal(vae.encode(Batch(lit)).mean, vae.encode(Batch(test)).mean)
    lit[:, 1] += 1.0
    assert not torch.equal(vae.encode(Batch(lit)).mean, vae.encode(Batch(test)).mean)


# Other ways to start.


@pytest.mark.parametrize("kind", SCALE_KINDS)
def test_a_zero_start_says_what_independent_columns_say(kind: ScaleKind) -> None:
    train, valid, test = synthetic()
    likelihood = Gaussian(C, kind)
    vae = VAE(likelihood, L, [16], start="zero")
    assert start_model(vae, rows(train), rows(valid)) is None
    with torch.no_grad():
        terms = vae.eval()(Batch(test), vae.noise(1, len(test)))
    alone = -likelihood.independent_columns(rows(train)).log_prob(test).sum(-1)
    torch.testing.assert_close(terms.reconstruction.flatten(), alone, rtol=1e-3, atol=1e-3)
    assert terms.kl.sum(-1).mean() < 0.1


def test_rows_without_a_common_factor_start_as_independent_columns() -> None:
    torch.manual_seed(0)
    train, valid, test = torch.randn(60, 30), torch.randn(4000, 30), torch.randn(500, 30)
    vae, factors = started(Gaussian(30), train, valid)
    assert not factors.signal.any()
    found, _ = nelbo_of(vae, test, 20)
    assert found == pytest.approx(-factors.log_prob(Batch(test)).mean().item(), abs=0.1)


def test_a_linear_start_of_counts_and_bits_is_the_constant_one() -> None:
    for likelihood, x in (
        (Bernoulli(5), torch.rand(50, 5).round()),
        (Poisson(5), torch.poisson(torch.full((50, 5), 3.0))),
    ):
        vae = VAE(likelihood, L, [8])
        assert start_model(vae, rows(x), rows(x[:10])) is None
        z = torch.randn(20, L)
        assert torch.equal(vae.raw(z), vae.raw(0 * z))


def test_of_mixed_columns_the_real_ones_start_linear() -> None:
    train, valid, test = synthetic()

    def with_others(x: Tensor) -> Tensor:
        torch.manual_seed(len(x))
        bits, counts = torch.rand(len(x), 1).round(), torch.poisson(torch.full((len(x), 1), 3.0))
        return torch.cat([x[:, :4], bits, x[:, 4:], counts], 1)

    real = [0, 1, 2, 3, 5, 6, 7, 8]
    blocks = [
        (Laplace(1), [8]),
        (Bernoulli(1), [4]),
        (Gaussian(7, "predicted"), [3, 0, 1, 2, 7, 6, 5]),
        (Poisson(1), [9]),
    ]
    likelihood = ByColumn(10, blocks)
    assert sorted(likelihood.column_of_raw[likelihood.column_of_raw >= 0].tolist()) == real
    train, valid, test = (with_others(part) for part in (train, valid, test))
    vae, factors = started(likelihood, train, valid)
    assert len(factors.mean) == 8
    assert factors.signal.gt(0.1).all()
    with torch.no_grad():
        p, none = vae.decode(torch.randn(500, L)), vae.decode(torch.zeros(1, L))
    others = [4, 9]
    assert torch.equal(p.mean[:, others], none.mean[:, others].expand(500, 2))
    assert (p.mean[:, real].std(0) > 0.05).all()
    # What is left of the located columns has the variance that factor analysis leaves.
    torch.testing.assert_close(none.stddev[0, real].double().square(), factors.noise, rtol=1e-3, atol=0)
    # The Laplace column is no normal: the law holds of the others.
    normals = ByColumn(10, [(Gaussian(8), real), (Bernoulli(1), [4]), (Poisson(1), [9])])
    vae, factors = started(normals, train, valid)
    found, error = nelbo_of(vae, test)
    alone = -normals.independent_columns(rows(train)).log_prob(test)[:, others].double().sum(-1).mean().item()
    truth = -factors.log_prob(Batch(test[:, real])).mean().item() + alone
    # Bits and counts start at probabilities of one half where nothing is known: hold them against the model's own.
    with torch.no_grad():
        own = -vae.decode(torch.zeros(1, L)).log_prob(test)[:, others].double().sum(-1).mean().item()
    assert found == pytest.approx(truth - alone + own, abs=6 * error + 1e-3)


@pytest.mark.parametrize("kind", ["per_column", "predicted", "shared", "optimal"])
def test_laplace_columns_start_with_the_locations_and_spreads_of_factor_analysis(kind: ScaleKind) -> None:
    train, valid, test = synthetic()
    vae, factors = started(Laplace(C, kind), train, valid)
    zero = VAE(Laplace(C, kind), L, [16], start="zero")
    start_model(zero, rows(train), rows(valid))
    z = torch.randn(50, L)
    with torch.no_grad():
        p = vae.decode(z)
    torch.testing.assert_close(p.stddev.double().square().expand(50, C), factors.noise.expand(50, C), rtol=1e-3, atol=0)
    found, _ = nelbo_of(vae, test, 50)
    assert found < nelbo_of(zero.eval(), test, 50)[0] - 1


def test_categories_beside_real_columns_leave_the_linear_start_what_it_is() -> None:
    """The encoder sees categories as features of their own: what factor analysis says of a column must reach it."""
    train, valid, test = synthetic()
    codes = [torch.randint(0, 40, (len(part), 3)).float() for part in (train, valid, test)]
    bits = [torch.randint(0, 3, (len(part), 1)).float() for part in (train, valid, test)]
    order = torch.tensor([0, 9, 1, 2, 8, 3, 4, 10, 5, 6, 7, 11]).argsort()
    parts = [
        torch.cat([part, few, many], 1)[:, order.argsort()]
        for part, few, many in zip((train, valid, test), bits, codes, strict=True)
    ]
    real, few, many = [0, 2, 3, 5, 6, 8, 9, 10], [4], [1, 7, 11]
    blocks = [(Categorical(3, 40), many), (Gaussian(8), real), (Categorical(1, 3), few)]
    likelihood = ByColumn(12, blocks)
    vae, factors = started(likelihood, *parts[:2])
    assert vae.features.size == 8 + 3 + 3 * 7
    assert vae.features.feature_of_column.tolist() == [0, -1, 1, 2, -1, 3, 4, -1, 5, 6, 7, -1]
    others = [*few, *many]
    alone = -likelihood.independent_columns(rows(parts[0])).log_prob(parts[2])[:, others].double().sum(-1).mean().item()
    truth = -factors.log_prob(Batch(parts[2][:, real])).mean().item() + alone
    found, error = nelbo_of(vae, parts[2])
    assert found == pytest.approx(truth, abs=6 * error + 1e-3)


# Parts of one's own.


class Shifted(GaussianPosterior):
    """Raw numbers in another order of magnitude: log-variances are told in halves."""

    def forward(self, raw: Tensor) -> DiagonalGaussian:
        mean, half = raw.chunk(2, dim=-1)
        return DiagonalGaussian(mean, 2 * half, 30.0)

    def raw_of(self, stddev: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(stddev), stddev.log()]).double()


def test_a_posterior_of_ones_own_starts_at_the_exact_one() -> None:
    train, valid, test = synthetic()
    vae, factors = started(Gaussian(C), train, valid, posterior=Shifted(L))
    check_law(vae, factors, test)


def test_under_another_prior_it_starts_from_the_same_weights() -> None:
    train, valid, test = synthetic()
    torch.manual_seed(0)
    vae, factors = started(Gaussian(C), train, valid, prior=Mixture(L, 4))
    found, error = nelbo_of(vae, test)
    assert found < 3 * abs(factors.log_prob(Batch(test)).mean().item()) + 6 * error
    with torch.no_grad():
        torch.testing.assert_close(
            vae.linear_decoder.unit[:, None] * vae.linear_decoder.weight, factors.loadings.float(), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    "options", [{"hidden_dims": []}, {"normalization": "batch"}, {"residual": True, "hidden_dims": [8, 8]}]
)
def test_the_law_holds_of_every_kind_of_network(options: dict) -> None:
    train, valid, test = synthetic()
    vae, factors = started(Gaussian(C), train, valid, **options)
    check_law(vae, factors, test)


def test_a_condition_says_nothing_at_first() -> None:
    train, valid, test = synthetic()
    vae = VAE(Gaussian(C), L, [8], condition_size=2)
    parts = [RowsInMemory(Batch(x, None, torch.randn(len(x), 2))) for x in (train, valid)]
    assert start_model(vae, *parts) is not None
    with torch.no_grad():
        one, other = (
            vae(Batch(test, None, 5 * torch.randn(len(test), 2)), torch.zeros(1, len(test), L)).nelbo for _ in range(2)
        )
    torch.testing.assert_close(one, other)
