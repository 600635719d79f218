"""Rows some of whose cells are given, against the conditional distributions of models that are known in closed form."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from vae_lightning.data.columns import Column
from vae_lightning.data.preprocess.none import Identity
from vae_lightning.data.preprocess.places import Places
from vae_lightning.errors import ConfigError, DataError
from vae_lightning.inference import given as module
from vae_lightning.inference.model import VAEModel
from vae_lightning.inference.sampling import Draws, sample_batches
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.by_column import ByColumn
from vae_lightning.likelihoods.categorical import Categorical
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE

LOADINGS = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, -1.5]])
NOISE = 0.5
COVARIANCE = (LOADINGS @ LOADINGS.T + NOISE**2 * torch.eye(3)).numpy()


def linear(loadings: torch.Tensor = LOADINGS, noise: float = NOISE) -> VAEModel:
    """x = loadings z + noise: a normal whose conditional distributions are known."""
    size = len(loadings)
    vae = VAE(Gaussian(size, variance="fixed", scale=noise), loadings.shape[1], [])
    assert vae.linear_decoder is not None
    vae.linear_decoder.start(loadings, torch.ones(size))
    return VAEModel(vae, Identity(size), [Column(f"x{i}", "float64") for i in range(size)])


@pytest.mark.parametrize("cells", [{"x0": 1.0}, {"x1": -1.2, "x2": 0.7}])
def test_the_other_cells_follow_the_conditional_normal(cells: dict[str, float]) -> None:
    rows = linear().sample(20_000, seed=0, given=cells)
    known = [int(name[1]) for name in cells]
    rest = [i for i in range(3) if i not in known]
    for name, value in cells.items():
        assert (rows[name] == value).all()
    weight = COVARIANCE[np.ix_(rest, known)] @ np.linalg.inv(COVARIANCE[np.ix_(known, known)])
    mean = weight @ np.array([*cells.values()])
    covariance = COVARIANCE[np.ix_(rest, rest)] - weight @ COVARIANCE[np.ix_(known, rest)]
    drawn = rows.to_numpy()[:, rest]
    # The effective sample size is some thousands.
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.08)
    np.testing.assert_allclose(np.cov(drawn.T).reshape(covariance.shape), covariance, atol=0.1)


def test_the_effective_sample_size_is_told_and_is_that_of_the_weights() -> None:
    said: list[str] = []
    next(sample_batches(linear(), 3, Draws(seed=0, given={"x0": 0.5}), said.append))
    assert len(said) == 1
    assert said[0].startswith("Given x0=0.5: effective sample size ")
    found = int(re.findall(r"size ([\d,]+) of 16,384 draws", said[0])[0].replace(",", ""))
    # Of weights N(x; z, s²), z ~ N(0, 1): E[w]² / E[w²] in closed form.
    s, x = NOISE, 0.5
    mean = np.exp(-0.5 * x**2 / (1 + s**2)) / np.sqrt(2 * np.pi * (1 + s**2))
    square = np.exp(-(x**2) / (2 + s**2)) / np.sqrt(2 * np.pi * (1 + s**2 / 2)) / (2 * s * np.sqrt(np.pi))
    assert found == pytest.approx(16_384 * mean**2 / square, rel=0.05)


def test_few_draws_are_warned_of_and_hardly_any_refused() -> None:
    model, said = linear(noise=0.05), []
    cells = {"x0": 2.5, "x1": 2.0, "x2": 0.0}
    next(sample_batches(model, 3, Draws(seed=0, given=cells), said.append))
    assert "That is little: rows repeat what few z say. Give fewer cells, or train with 'data.condition=" in said[0]
    with pytest.raises(DataError, match=r"too rare: of 262,144 draws of z .* Train with 'data.condition=\[x0\]'"):
        model.sample(3, seed=0, given={"x0": 50.0})


def test_more_draws_are_made_until_they_are_enough_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = linear(noise=0.02)
    monkeypatch.setattr(module, "MOST_NUMBERS", 2 * 3 * module.ROUND)
    said: list[str] = []
    next(sample_batches(model, 3, Draws(seed=0, given={"x0": 1.0}), said.append))
    assert f"of {3 * module.ROUND:,} draws" in said[0]
    monkeypatch.undo()
    next(sample_batches(model, 3, Draws(seed=0, given={"x0": 1.0}), said.append))
    assert "of 65,536 draws" in said[1]


def mixed() -> VAEModel:
    """A text, numbers that are levels, and a number, all of one z."""
    blocks: list[tuple[Likelihood, list[int]]] = [
        (Categorical(1, 2), [0]),
        (Categorical(1, 3), [1]),
        (Gaussian(1), [2]),
    ]
    vae = VAE(ByColumn(3, blocks), 1, [])
    with torch.no_grad():
        vae.output.weight.normal_(0, 2)
    scaling = ByColumnScaling()
    columns = [Column("city", "object", ("Oslo", "Rome")), Column("rooms", "int64"), Column("area", "float64")]
    return VAEModel(vae, scaling, columns)


class ByColumnScaling(Identity):
    """The second column to its place among 1, 2 and 5."""

    def __init__(self) -> None:
        super().__init__(3)
        self.places = Places(1, [[1.0, 2.0, 5.0]])

    def transform(self, x: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        u = super().transform(x, generator).clone()
        u[..., 1:2] = self.places.transform(x[..., 1:2])
        return u

    def inverse(self, u: torch.Tensor) -> torch.Tensor:
        x = super().inverse(u).clone()
        x[..., 1:2] = self.places.inverse(u[..., 1:2])
        return x


def test_texts_and_levels_are_given_as_the_user_has_them_and_bayes_holds() -> None:
    model = mixed()
    rows = model.sample(20_000, seed=0)
    for cells in ({"city": "Rome"}, {"rooms": 5}, {"rooms": "2", "city": "Oslo"}):
        drawn = model.sample(20_000, seed=1, given=cells)
        fits = np.logical_and.reduce([rows[name].astype(str) == str(value) for name, value in cells.items()])
        assert fits.sum() > 500
        for name, value in cells.items():
            assert (drawn[name].astype(str) == str(value)).all()
        for name in {"city", "rooms"} - set(cells):
            expected, found = (part[name].value_counts(normalize=True) for part in (rows[fits], drawn))
            assert (expected - found).abs().max() < 0.06
        assert drawn["area"].mean() == pytest.approx(rows[fits]["area"].mean(), abs=0.15)
        assert drawn.dtypes.equals(rows.dtypes)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"city": "Paris"}, "The column 'city' must be one of 'Oslo', 'Rome'. Got 'Paris' instead."),
        ({"rooms": 3}, "The column 'rooms' must be one of 1, 2, 5. Got 3 instead."),
        ({"area": "large"}, "The column 'area' must be a number. Got 'large' instead."),
        ({"area": None}, "The column 'area' must be a number. Got None instead."),
        ({"aera": 1}, "The model has no column 'aera'. Did you mean 'area'?"),
    ],
)
def test_what_cannot_be_is_refused(cells: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        mixed().sample(3, given=cells)


def test_values_by_name_are_wanted() -> None:
    with pytest.raises(ConfigError, match="The 'given' parameter of sample must be values by name of column"):
        mixed().sample(3, given=["area"])  # type: ignore[arg-type]


def test_a_seed_decides_and_a_given_cell_changes_nothing_of_other_draws() -> None:
    model = mixed()
    pd.testing.assert_frame_equal(*(model.sample(9, seed=3, given={"rooms": 5}) for _ in range(2)))
    pd.testing.assert_frame_equal(*(model.sample(9, seed=3, given=cells) for cells in ({}, None)))
    means = model.sample(50, seed=0, mean=True, given={"rooms": 5})
    assert (means["rooms"] == 5).all()
