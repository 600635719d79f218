"""The density of the codes that new rows are drawn from: what it is, how it is chosen, and that it travels."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from scipy.stats import multivariate_normal
from torch import Tensor

from tests.conftest import Run
from vae_lightning import VAEEstimator, load
from vae_lightning.cli.main import main
from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.errors import RunError
from vae_lightning.inference.aggregate import AggregatePosterior, describe_draws, fit_aggregate_posterior
from vae_lightning.inference.checkpoint import add_aggregate
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE

pytestmark = pytest.mark.usefixtures("one_thread")
POSTERIOR_STD = 0.3
AXIS = torch.linspace(-8, 8, 801, dtype=torch.float64)
GRID = torch.stack(torch.meshgrid(AXIS, AXIS, indexing="ij"), -1)
CELL = float(AXIS[1] - AXIS[0]) ** 2


def planted() -> AggregatePosterior:
    """Two normals that lie apart and lean against each other."""
    factors = torch.tensor([[[0.5, 0.0], [0.4, 0.3]], [[0.6, 0.0], [-0.3, 0.2]]]).double()
    means = torch.tensor([[-1.5, 0.0], [1.0, 1.0]]).double()
    return AggregatePosterior(torch.tensor([0.3, 0.7]).double(), means, factors, 1.5)


def reading_rows_as_codes(latent_dim: int) -> VAE:
    """A model whose codes are the rows themselves: q(z|x) = N(x, 0.3²)."""
    vae = VAE(Gaussian(latent_dim), latent_dim=latent_dim, hidden_dims=[], linear_path=False).eval()
    with torch.no_grad():
        vae.heads.weight.zero_()
        vae.heads.weight[:latent_dim] = torch.eye(latent_dim)
        vae.heads.bias.copy_(vae.posterior.raw_of(torch.full((latent_dim,), POSTERIOR_STD)))
    return vae


def fit(train: Tensor, valid: Tensor, seed: int = 0, vae: VAE | None = None) -> tuple[VAE, AggregatePosterior | None]:
    vae = vae or reading_rows_as_codes(train.shape[1])
    train, valid = train.float(), valid.float()
    return vae, fit_aggregate_posterior(vae, RowsInMemory(Batch(train)), RowsInMemory(Batch(valid)), seed)


def blurred(density: AggregatePosterior) -> AggregatePosterior:
    """The density of codes, where that of posterior means is known."""
    covariances = density.factors @ density.factors.mT + POSTERIOR_STD**2 * torch.eye(density.means.shape[1])
    return AggregatePosterior(density.weights, density.means, torch.linalg.cholesky(covariances))


# --- what it is ------------------------------------------------------------------------------------------------------


def test_log_prob_is_that_of_scipys_normals() -> None:
    density = planted()
    z = 2 * torch.randn(3, 5, 2)
    expected = sum(
        float(w) * multivariate_normal(m.numpy(), (f @ f.T).numpy()).pdf(z.double().numpy())
        for w, m, f in zip(density.weights, density.means, density.factors, strict=True)
    )
    assert density.log_prob(z).shape == (3, 5)
    torch.testing.assert_close(density.log_prob(z), torch.from_numpy(np.log(expected)))


def test_it_integrates_to_one() -> None:
    assert float(planted().log_prob(GRID).exp().sum()) * CELL == pytest.approx(1, abs=1e-9)


def test_draws_have_the_density_that_log_prob_states() -> None:
    density = planted()
    z = density.sample(200_000)
    mean = density.weights @ density.means
    torch.testing.assert_close(z.mean(0), mean, atol=0.02, rtol=0)
    apart = density.means - mean
    covariance = torch.einsum("k,kij->ij", density.weights, density.factors @ density.factors.mT)
    covariance += torch.einsum("k,ki,kj->ij", density.weights, apart, apart)
    torch.testing.assert_close(z.T.cov(), covariance, atol=0.03, rtol=0)
    log_prob = density.log_prob(GRID)
    entropy = -float((log_prob.exp() * log_prob).sum()) * CELL
    assert -float(density.log_prob(z).mean()) == pytest.approx(entropy, abs=0.01)


def test_at_temperature_0_every_draw_is_a_mean_and_at_a_half_the_spread_is_halved() -> None:
    density = planted()
    frozen = density.sample(4000, temperature=0.0)
    first = (frozen == density.means[0]).all(1)
    assert bool((first | (frozen == density.means[1]).all(1)).all())
    assert float(first.double().mean()) == pytest.approx(0.3, abs=0.03)
    one = AggregatePosterior(torch.ones(1).double(), density.means[:1], density.factors[:1])
    covariance = one.sample(100_000, temperature=0.5).T.cov()
    torch.testing.assert_close(covariance, (one.factors[0] @ one.factors[0].T) / 4, atol=0.003, rtol=0)


# --- how it is chosen ------------------------------------------------------------------------------------------------


def test_two_planted_clusters_are_found_again() -> None:
    truth = planted()
    vae, found = fit(truth.sample(3000), truth.sample(400))
    assert found is not None
    codes = blurred(truth)
    z = codes.sample(50_000)
    divergence = float((codes.log_prob(z) - found.log_prob(z)).mean())
    assert 0 <= divergence < 0.02, f"KL {divergence} to the truth"
    gain = float((codes.log_prob(z) - vae.prior.log_prob(z)).mean())
    assert found.gain == pytest.approx(gain, abs=0.15)  # 400 rows stand for all: its standard error is 0.05
    shares = [float(found.weights[(found.means[:, 0] < -0.5)].sum()), float(found.weights[found.means[:, 0] > 0].sum())]
    assert shares == pytest.approx([0.3, 0.7], abs=0.05)


def test_codes_that_fill_the_prior_leave_it_alone() -> None:
    spread = math.sqrt(1 - POSTERIOR_STD**2)
    for seed in range(5):
        assert fit(spread * torch.randn(1000, 3), spread * torch.randn(100, 3), seed)[1] is None


def test_what_only_the_training_rows_have_is_not_drawn() -> None:
    spread = math.sqrt(1 - POSTERIOR_STD**2)
    assert fit(planted().sample(1000), spread * torch.randn(200, 2))[1] is None


@pytest.mark.parametrize("num_rows", [12, 40, 300])
def test_it_is_never_worse_than_the_prior_on_validation_rows(num_rows: int) -> None:
    for seed in range(6):
        torch.manual_seed(seed)
        heavy = torch.distributions.StudentT(2.0).sample((num_rows, 8)) * torch.linspace(0.3, 2, 8)
        valid = heavy[: num_rows // 3]
        vae, found = fit(heavy[num_rows // 3 :], valid, seed)
        if found is None:
            continue
        assert found.gain > 0
        z = valid + POSTERIOR_STD * torch.randn(500, *valid.shape)
        assert float((found.log_prob(z) - vae.prior.log_prob(z).double()).mean()) > 0


def test_few_validation_rows_choose_carefully() -> None:
    truth = planted()
    assert fit(truth.sample(1000), truth.sample(9))[1] is None
    few = fit(0.1 * truth.sample(1000), 0.1 * truth.sample(29))[1]
    assert few is not None
    assert few.num_components == 1
    many = fit(0.1 * truth.sample(1000), 0.1 * truth.sample(300))[1]
    assert many is not None
    assert many.gain == pytest.approx(few.gain, abs=0.3)


def test_dimensions_that_tell_nothing_stay_as_they_are_and_apart() -> None:
    truth = planted()
    vae = reading_rows_as_codes(3)
    with torch.no_grad():
        vae.heads.weight[2].zero_()
        vae.heads.bias.copy_(vae.posterior.raw_of(torch.tensor([POSTERIOR_STD, POSTERIOR_STD, 1.0])))
    rows = [torch.cat([truth.sample(n), torch.randn(n, 1)], 1) for n in (2000, 300)]
    found = fit(rows[0], rows[1], vae=vae)[1]
    assert found is not None
    assert bool((found.factors[:, 2, :2] == 0).all())
    torch.testing.assert_close(found.factors[:, 2, 2], torch.ones(found.num_components).double(), atol=0.05, rtol=0)
    torch.testing.assert_close(found.means[:, 2], torch.zeros(found.num_components).double(), atol=0.05, rtol=0)


def test_a_seed_decides_the_fit_and_the_callers_random_stream_goes_on() -> None:
    train, valid = planted().sample(500), planted().sample(100)
    before = torch.random.get_rng_state()
    first, again, other = (fit(train, valid, seed)[1] for seed in (0, 0, 1))
    # reading_rows_as_codes draws weights; the fit itself must not.
    torch.random.set_rng_state(before)
    vae = reading_rows_as_codes(2)
    expected = torch.random.get_rng_state()
    fit(train, valid, vae=vae)
    assert torch.equal(torch.random.get_rng_state(), expected)
    assert first is not None
    assert again is not None
    assert other is not None
    for name, tensor in first.as_tensors().items():
        assert torch.equal(tensor, again.as_tensors()[name])
    assert not torch.equal(first.means, other.means)


def test_a_collapsed_model_draws_from_the_prior() -> None:
    vae = VAE(Gaussian(2), latent_dim=2, hidden_dims=[], linear_path=False).eval()
    with torch.no_grad():
        vae.heads.weight.zero_()
    assert fit(planted().sample(500), planted().sample(100), vae=vae)[1] is None


# --- how it travels --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clustered(train: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on a table of two kinds of rows, whose codes no normal describes. Read only."""
    folder = tmp_path_factory.mktemp("clustered")
    draws = np.random.default_rng(0)
    kind = draws.integers(0, 2, (600, 1))
    rows = np.array([[4.0, -4.0, 2.0]]) * (2 * kind - 1) + draws.normal(size=(600, 3))
    pd.DataFrame(rows, columns=["a", "b", "c"]).to_csv(folder / "kinds.csv", index=False)
    return train(folder / "run", "data=table", f"data.path={folder / 'kinds.csv'}", "model.latent_dim=1")


@pytest.fixture
def copied(clustered: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clustered.run_dir, tmp_path / "run"))


def test_a_run_keeps_it_with_its_weights_and_says_so(clustered: Run) -> None:
    model = load(clustered.run_dir)
    found = model.aggregate_posterior
    assert found is not None
    words = f"Draws: z from a mixture of {found.num_components} normals fitted to the codes of the training rows, "
    assert words + f"{found.gain:.2f} nats a row better" in (clustered.run_dir / "train.log").read_text()
    expected = {"from": "aggregate_posterior", "num_components": found.num_components, "gain": found.gain}
    assert clustered.summary["draws"] == expected
    assert model.info()["draws"] == describe_draws(found)
    assert "aggregate_posterior" not in clustered.checkpoint("last")  # nothing of it takes part in training


def test_drawn_rows_are_of_two_kinds_and_those_of_the_prior_lie_between(clustered: Run) -> None:
    model = load(clustered.run_dir)
    between = [float((model.sample(4000, seed=0, prior=prior)["a"].abs() < 1.5).mean()) for prior in (False, True)]
    assert between[0] < 0.04 < 0.1 < between[1]  # of the data 1 % are so near to the middle
    pd.testing.assert_frame_equal(model.sample(50, seed=0), model.sample(50, seed=0))
    values = model.sample(500, seed=0, mean=True, temperature=0.0).round(4)
    assert len(values.drop_duplicates()) == clustered.summary["draws"]["num_components"]


def test_the_command_draws_alike_and_from_the_prior_where_asked(clustered: Run, tmp_path: Path) -> None:
    model = load(clustered.run_dir)
    for words, options in ((), {}), (("--prior",), {"prior": True}):
        path = tmp_path / f"{len(words)}.csv"
        done = CliRunner().invoke(
            main, ["sample", str(clustered.run_dir), "-n", "20", "--seed", "3", "-o", str(path), *words]
        )
        assert done.exit_code == 0, done.output
        expected = model.sample(20, seed=3, **options)
        pd.testing.assert_frame_equal(pd.read_csv(path), expected, check_exact=False)


def test_nothing_but_draws_depends_on_it(clustered: Run, copied: Path) -> None:
    model, rows = load(copied), pd.read_csv(clustered.run_dir.parent / "kinds.csv")
    bare = load(copied)
    bare.aggregate_posterior = None
    np.testing.assert_array_equal(model.score(rows, kind="nll"), bare.score(rows, kind="nll"))
    np.testing.assert_array_equal(model.encode(rows), bare.encode(rows))
    pd.testing.assert_frame_equal(bare.sample(9, seed=0), model.sample(9, seed=0, prior=True))


def test_a_run_that_has_not_ended_draws_from_the_prior(copied: Path) -> None:
    model = load(copied)
    model.aggregate_posterior = None
    add_aggregate(model, copied / "checkpoints" / "best.ckpt")
    assert load(copied).aggregate_posterior is None
    path = copied / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["aggregate_posterior"]  # as of a run that was killed, and of earlier versions
    torch.save(checkpoint, path)
    assert load(copied).aggregate_posterior is None
    pd.testing.assert_frame_equal(load(copied).sample(9, seed=0), load(copied).sample(9, seed=0, prior=True))


def test_the_rest_of_the_checkpoint_is_left_as_it_was(copied: Path) -> None:
    path = copied / "checkpoints" / "best.ckpt"
    before = torch.load(path, weights_only=True)
    model = load(copied)
    model.aggregate_posterior = AggregatePosterior(
        torch.ones(1).double(), torch.zeros(1, 1).double(), torch.ones(1, 1, 1).double(), 0.5
    )
    add_aggregate(model, path)
    after = torch.load(path, weights_only=True)
    assert after.keys() == before.keys()
    assert after["vae_lightning"] == before["vae_lightning"]
    assert all(torch.equal(after["state_dict"][name], value) for name, value in before["state_dict"].items())
    assert [file.name for file in path.parent.iterdir()].count("best.ckpt") == 1
    assert not [file for file in path.parent.iterdir() if file.name.startswith(".")]


def changed(**parts: Any) -> dict[str, Any]:
    return {**planted().as_tensors(), **parts}


HOSTILE = {
    "no mapping": [1, 2],
    "a tensor": torch.zeros(3),
    "nothing in it": {},
    "a part more": changed(code=torch.zeros(1)),
    "plain numbers": changed(weights=[0.3, 0.7]),
    "another dtype": changed(means=planted().means.float()),
    "complex": changed(means=planted().means.to(torch.complex128)),
    "no component": {name: tensor[:0] if tensor.ndim else tensor for name, tensor in planted().as_tensors().items()},
    "components that do not match": changed(weights=torch.ones(1).double()),
    "another number of dimensions": changed(
        means=torch.zeros(2, 3).double(), factors=torch.eye(3).repeat(2, 1, 1).double()
    ),
    "a mean that is no number": changed(means=planted().means.fill_(math.nan)),
    "an infinite factor": changed(factors=planted().factors.mul(math.inf)),
    "negative weights": changed(weights=torch.tensor([1.5, -0.5]).double()),
    "weights of another sum": changed(weights=torch.tensor([0.3, 0.3]).double()),
    "factors with an upper part": changed(factors=planted().factors.mT.contiguous()),
    "factors with a negative diagonal": changed(factors=-planted().factors),
    "a gain for each component": changed(gain=torch.zeros(2).double()),
    "sparse": changed(means=planted().means.to_sparse()),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=list(HOSTILE))
def test_a_damaged_one_is_one_message(gaussian_run: Run, tmp_path: Path, content: Any) -> None:
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints" / "best.ckpt"
    torch.save({**gaussian_run.checkpoint("best"), "aggregate_posterior": content}, path)
    with pytest.raises(RunError, match=r"best\.ckpt cannot be read: its density of the codes is damaged, .*\.$"):
        load(tmp_path)


def test_a_sound_one_in_the_same_place_is_read(gaussian_run: Run, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    torch.save(
        {**gaussian_run.checkpoint("best"), "aggregate_posterior": planted().as_tensors()},
        tmp_path / "checkpoints" / "best.ckpt",
    )
    found = load(tmp_path).aggregate_posterior
    assert found is not None
    assert found.gain == 1.5
    assert torch.equal(found.factors, planted().factors)


def test_safetensors_carry_it(copied: Path, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    from vae_lightning.export.export import export

    model = load(copied)
    export(model, tmp_path / "exported", "safetensors")
    pd.testing.assert_frame_equal(load(tmp_path / "exported").sample(30, seed=1), model.sample(30, seed=1))
    model.aggregate_posterior = None
    export(model, tmp_path / "exported", "safetensors")
    assert load(tmp_path / "exported").aggregate_posterior is None


def test_an_estimator_has_it_and_saves_it(clustered: Run, tmp_path: Path) -> None:
    rows = pd.read_csv(clustered.run_dir.parent / "kinds.csv")
    vae = VAEEstimator(latent_dim=1, hidden_dims=[8], max_epochs=2, random_state=0).fit(rows)
    found = vae.model_.aggregate_posterior
    assert found is not None
    assert (vae.sample(4000, random_state=0)["a"].abs() < 1.5).mean() < 0.05
    again = VAEEstimator.load(vae.save(tmp_path / "saved"))
    pd.testing.assert_frame_equal(again.sample(30, random_state=1), vae.sample(30, random_state=1))
    assert again.model_.info()["draws"] == describe_draws(found)


# --- what it is for --------------------------------------------------------------------------------------------------

TABLES = {
    "wine": (
        "hivae_wine.npz",
        lambda file: file["x"][:, [t.split(",")[0] in ("real", "pos", "count") for t in file["types"]]],
    ),
    "tecator": ("tecator.npz", lambda file: file["x"]),
    "fourier": ("mfeat.npz", lambda file: file["fourier"]),
    "factors": ("mfeat.npz", lambda file: file["factors"]),
    "pixel": ("mfeat.npz", lambda file: file["pixel"]),
}


@pytest.mark.long
@pytest.mark.parametrize("name", TABLES)
def test_drawn_rows_spread_and_go_together_as_the_data_do(
    shared_data: Callable[[str], dict[str, np.ndarray]], name: str
) -> None:
    file, read = TABLES[name]
    x = read(shared_data(file)).astype(np.float64)
    drawn = VAEEstimator(random_state=0).fit(x).sample(4000, random_state=0)
    ratio = float(np.median(drawn.std(0) / x.std(0)))
    apart = np.abs(np.corrcoef(drawn.T) - np.corrcoef(x.T))[np.triu_indices(x.shape[1], 1)].mean()
    assert ratio == pytest.approx(1, abs=0.05)
    assert apart < 0.03
