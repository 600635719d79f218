"""The three scores against closed forms, and the laws of their parts."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from tests.models import every_likelihood, randomise, rows_for, small_vae
from vae_lightning import load
from vae_lightning.config.build import build
from vae_lightning.data.batch import Batch
from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.preprocess.choice import fit_scaling
from vae_lightning.data.preprocess.none import Identity
from vae_lightning.data.preprocess.standardize import Standardize
from vae_lightning.errors import ConfigError, RunError
from vae_lightning.inference import importance
from vae_lightning.inference.model import VAEModel
from vae_lightning.inference.scoring import SCORE_KINDS, noise, scores
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.support import COUNT
from vae_lightning.model.noise import even_normals
from vae_lightning.model.vae import VAE

W = torch.tensor([[1.0, 0.3], [-0.5, 0.8], [0.2, -1.1], [0.0, 0.4]])  # columns need not be orthogonal
SIGMA = 0.7


def linear_model(scaling: Scaling | None = None) -> VAEModel:
    """x = W z + noise, and an encoder that is deliberately not the optimal one."""
    vae = VAE(Gaussian(4, "fixed", scale=SIGMA), 2, [])
    with torch.no_grad():
        vae.output.weight.copy_(W)
        vae.heads.weight[:2] = 0.3 * W.T
        vae.heads.bias[2:] = -0.5
    return VAEModel(vae, scaling or Identity(4), [Column(f"x{i}", "float64") for i in range(4)]).eval()


def random_model(likelihood: Likelihood, scaling: Scaling, width: int = 8) -> VAEModel:
    vae = VAE(likelihood, 3, [width])
    for parameter in vae.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return VAEModel(vae, scaling, [Column(f"x{i}", "float64") for i in range(likelihood.num_columns)]).eval()


def rows(n: int = 30) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 4))


def test_the_nll_of_a_linear_model_is_that_of_its_normal_distribution() -> None:
    covariance = (W @ W.T).numpy() + SIGMA**2 * np.eye(4)
    truth = -stats.multivariate_normal(np.zeros(4), covariance).logpdf(rows())
    assert linear_model().score(rows(), "nll", num_samples=4096) == pytest.approx(truth, abs=0.02)


def test_the_elbo_of_a_linear_model_is_its_closed_form() -> None:
    model = linear_model()
    x = torch.from_numpy(rows()).float()
    q = model.vae.encode(Batch(x))
    mean, variance = q.mean.detach().double(), q.stddev.detach().double().square()
    w = W.double()
    squared = (x.double() - mean @ w.T).square() + (variance @ w.square().T)  # E_q (x - Wz)²
    by_column = 0.5 * (math.log(2 * math.pi * SIGMA**2) + squared / SIGMA**2)
    kl = 0.5 * (mean.square() + variance - variance.log() - 1).sum(-1)
    found = model.score_by_column(rows(), "elbo", num_samples=4096)
    assert found.filter(like="nats_").to_numpy() == pytest.approx(by_column.numpy(), abs=0.01)
    assert found["kl"].to_numpy() == pytest.approx(kl.numpy(), rel=1e-5)
    assert model.score(rows(), "reconstruction", 4096) == pytest.approx(by_column.sum(-1).numpy(), abs=0.02)


def test_the_parts_of_the_nll_are_those_of_the_true_posterior() -> None:
    """p(z|x) of a linear model is normal (Tipping & Bishop 1999), and so is its KL to the prior."""
    x = torch.from_numpy(rows())
    w = W.double()
    covariance = SIGMA**2 * torch.linalg.inv(w.T @ w + SIGMA**2 * torch.eye(2))
    mean = x @ w @ covariance / SIGMA**2
    kl = 0.5 * (mean.square().sum(-1) + covariance.trace() - 2 - torch.logdet(covariance))
    spread = (w @ covariance * w).sum(-1)
    by_column = 0.5 * (math.log(2 * math.pi * SIGMA**2) + ((x - mean @ w.T).square() + spread) / SIGMA**2)
    found = linear_model().score_by_column(rows(), "nll", num_samples=8192)
    assert found["kl"].to_numpy() == pytest.approx(kl.numpy(), abs=0.05)
    assert found.filter(like="nats_").to_numpy() == pytest.approx(by_column.numpy(), abs=0.05)


def test_the_parts_of_a_score_sum_to_it() -> None:
    draws = np.random.default_rng(1)
    columns = tuple(Column(f"x{i}", "float64") for i in range(6))
    for name, likelihood in every_likelihood():
        x = np.abs(np.round(draws.random((20, 6)))) if likelihood.supports[0] != COUNT else draws.poisson(5, (20, 6))
        x = np.where(likelihood.supports[0].contains(torch.tensor(x)).numpy(), x, likelihood.supports[0].fill)
        part = Rows(np.asarray(x, dtype=np.float64))
        # A mixture has no scaling of its own to default to.
        asked = "none" if name == "by column" else None
        scaling, _ = fit_scaling(asked, likelihood.supports, Dataset("some", columns, part, part, part))
        model = random_model(likelihood, scaling)
        for kind in SCORE_KINDS:
            parts = model.score_by_column(part.x, kind)
            assert parts.columns.tolist() == [
                "anomaly_score",
                *([] if kind == "reconstruction" else ["kl"]),
                *(f"nats_x{i}" for i in range(6)),
            ]
            total = parts["anomaly_score"].to_numpy()
            assert parts.iloc[:, 1:].sum(axis=1).to_numpy() == pytest.approx(total, abs=1e-9), (name, kind)
            assert total == pytest.approx(model.score(part.x, kind), abs=0), (name, kind)


def test_the_nll_is_no_more_than_the_elbo_and_both_hold_the_reconstruction() -> None:
    model = random_model(Gaussian(4), Identity(4))
    elbo, nll, reconstruction = (model.score(rows(), kind, num_samples=512) for kind in SCORE_KINDS)
    assert (nll <= elbo + 1e-5).all()  # Jensen's inequality
    assert (reconstruction <= elbo).all()


@pytest.mark.parametrize("kind", SCORE_KINDS)
def test_a_row_has_its_score_whatever_stands_beside_it(kind: Any) -> None:
    model = random_model(Gaussian(4), Standardize(4).fit(Rows(rows()))).double()
    whole = model.score(rows(), kind)
    alone = np.concatenate([model.score(rows()[i : i + 1], kind) for i in range(30)])
    assert alone == pytest.approx(whole, abs=1e-11)
    assert model.score(rows()[::-1], kind)[::-1] == pytest.approx(whole, abs=1e-11)


def test_scores_of_densities_move_with_the_units_and_column_by_column() -> None:
    factors = np.array([10.0, 0.5, 3.0, 1.0])
    network = random_model(Gaussian(4), Identity(4)).vae
    columns = [Column(f"x{i}", "float64") for i in range(4)]
    before, after = (
        VAEModel(network, Standardize(4).fit(Rows(x)), columns).score_by_column(x) for x in (rows(), rows() * factors)
    )
    moved = (after - before).mean()
    assert moved["anomaly_score"] == pytest.approx(np.log(factors).sum(), abs=1e-4)
    assert moved.filter(like="nats_").to_numpy() == pytest.approx(np.log(factors), abs=1e-4)
    assert moved["kl"] == pytest.approx(0, abs=1e-5)


def test_the_columns_of_a_masked_row_are_those_of_a_model_without_the_others() -> None:
    """A linear model of the first three columns is one of four whose last was not observed."""
    noise = even_normals(4096, 2)[:, None].float()
    whole, part = linear_model().vae, VAE(Gaussian(3, "fixed", scale=SIGMA), 2, [])
    with torch.no_grad():
        part.output.weight.copy_(W[:3])
        part.heads.weight[:2] = 0.3 * W[:3].T
        part.heads.bias[2:] = -0.5
    x = torch.from_numpy(rows()).float()
    # The encoder sees a hole as 0, which here is as if the column were not there.
    masked = scores(whole, Batch(x, torch.tensor([True, True, True, False]).expand(30, 4)), noise)
    without = scores(part, Batch(x[:, :3]), noise)
    for name in ("expected", "weighted"):
        assert (getattr(masked, name)[:, 3] == 0).all()
        torch.testing.assert_close(getattr(masked, name)[:, :3], getattr(without, name), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(masked.kl, without.kl, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(masked.nll, without.nll, rtol=1e-5, atol=1e-5)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, likelihood in every_likelihood():
        vae, batch = randomise(small_vae(likelihood), 0.3), Batch(rows_for(likelihood, 21), torch.rand(21, 6) < 0.8)
        draws = noise(vae, 16)
        monkeypatch.setattr(importance, "MAX_ELEMENTS", 2**22)
        whole = scores(vae, batch, draws)
        monkeypatch.setattr(importance, "MAX_ELEMENTS", 600)
        for ours, theirs in zip(scores(vae, batch, draws), whole, strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5), name


def test_a_far_row_scores_higher_and_its_column_says_why() -> None:
    model = linear_model()
    odd = np.zeros((1, 4))
    odd[0, 2] = 8.0
    usual = rows(500)[:, [0, 1]] @ W.numpy()[:, :2].T[:2] * 0.5
    for kind in SCORE_KINDS:
        assert model.score(odd, kind)[0] > model.score(usual, kind).max(), kind
        assert model.score_by_column(odd, kind).filter(like="nats_").iloc[0].idxmax() == "nats_x2"


def test_even_draws_are_normal_and_their_means_lie_closer_than_those_of_random_draws() -> None:
    draws = even_normals(1024, 5, seed=3).numpy()
    assert draws.shape == (1024, 5)
    for column in draws.T:
        assert stats.kstest(column, "norm").pvalue > 0.01
    # E sum sin(z + 1)... of a smooth function, whose expectation is exp(-1/2) sin(1) a dimension
    truth = 5 * math.exp(-0.5) * math.sin(1)
    errors = [np.sin(even_normals(64, 5, s).numpy() + 1).sum(1).mean() - truth for s in range(40)]
    by_chance = math.sqrt(5 * (0.5 * (1 - math.exp(-2) * math.cos(2)) - math.exp(-1) * math.sin(1) ** 2) / 64)
    assert np.sqrt(np.mean(np.square(errors))) < by_chance / 3
    assert abs(np.mean(errors)) < 4 * np.std(errors) / math.sqrt(40)


def test_frames_keep_their_index_and_the_column_says_which_way_is_up() -> None:
    frame = pd.DataFrame(rows(3), columns=["x3", "x2", "x1", "x0"], index=["a", "b", "c"])
    score = linear_model().score(frame)
    assert isinstance(score, pd.Series)
    assert (score.name, score.index.tolist()) == ("anomaly_score", ["a", "b", "c"])
    assert score.to_numpy() == pytest.approx(linear_model().score(rows(3)[:, ::-1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "loss"}, "'kind' parameter of score must be one of elbo, nll, reconstruction. Got 'loss' instead"),
        ({"num_samples": 0}, "'num_samples' parameter of score must be a whole number from 1 on"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        linear_model().score(rows(), **options)


# --- thresholds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SCORE_KINDS)
def test_a_run_knows_the_quantiles_of_its_validation_rows(gaussian_run: Any, kind: Any) -> None:
    model = load(gaussian_run.run_dir)
    valid = build(gaussian_run.settings).dataset.valid.x
    assert model.threshold(0.9, kind) == pytest.approx(np.quantile(model.score(valid, kind), 0.9), rel=1e-6)


def test_a_model_without_validation_scores_says_how_to_get_them(gaussian_run: Any) -> None:
    model = load(gaussian_run.run_dir)
    model.valid_scores = {}
    with pytest.raises(ConfigError, match=r"calibrate\(rows\) takes them"):
        model.threshold()
    x = rows(50)
    assert model.calibrate(x).threshold(0.5) == pytest.approx(np.median(model.score(x)), rel=1e-6)


@pytest.mark.parametrize("quantile", [0, 1, 1.5])
def test_a_quantile_lies_between_0_and_1(gaussian_run: Any, quantile: float) -> None:
    with pytest.raises(ConfigError, match="'quantile' parameter of threshold must be between 0 and 1"):
        load(gaussian_run.run_dir).threshold(quantile)


def test_damaged_validation_scores_are_named(gaussian_run: Any, tmp_path: Path) -> None:
    run_dir = shutil.copytree(gaussian_run.run_dir, tmp_path / "run")
    rests = ("1,x,3\n", "1\n", "", "1,2,nan\n", "1,2,3")
    for content in ("elbo,nll\n1,2\n", *(f"elbo,nll,reconstruction\n{rest}" for rest in rests)):
        (run_dir / "valid_scores.csv").write_text(content)
        with pytest.raises(RunError, match=r"valid_scores\.csv cannot be read"):
            load(run_dir)
