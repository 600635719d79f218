"""How each likelihood of the package takes a table: support, baseline and floor."""

import importlib
import pkgutil
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vae_lightning import likelihoods
from vae_lightning.data.checks import outside
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.preprocess.base import KINDS, Preprocess, build_preprocess
from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.likelihoods.base import Likelihood


@dataclass(frozen=True)
class Fit:
    """How one likelihood takes the rows.

    Args:
        name: The likelihood.
        kind: The preprocessing that the rows went through.
        refused: For each column, how many training, validation and test values lie outside the support.
        baseline: The loss of independent columns, nats per row in data units; None where values are refused.
        floor: The least loss that any model can reach on these rows; None where values are refused.
        continuous: Whether it is a density.
    """

    name: str
    kind: str
    refused: Array
    baseline: float | None
    floor: float | None
    continuous: bool


def families() -> dict[str, type[Likelihood]]:
    """The likelihoods of this package by name: one for each file of its folder."""
    found = {}
    for module in pkgutil.iter_modules(likelihoods.__path__):
        content = vars(importlib.import_module(f"{likelihoods.__name__}.{module.name}")).values()
        own = [one for one in content if isinstance(one, type) and issubclass(one, Likelihood)]
        for family in own:
            if family.__module__.endswith(f".{module.name}") and module.name != "base":
                found[module.name] = family
    return found


def fit_of(name: str, family: type[Likelihood], dataset: Dataset) -> Fit:
    """Hold the rows against a likelihood, preprocessed as a run with its defaults would."""
    likelihood = family(len(dataset.columns))
    preprocess = _prepared(likelihood, dataset, None)
    train, valid, test = (preprocess.transform(torch.from_numpy(part.x)) for part in parts_of(dataset))
    refused = sum(_outside(likelihood, u) for u in (train, valid, test))
    if np.any(refused):
        return Fit(name, preprocess.kind, np.asarray(refused), None, None, not likelihood.discrete)
    shift = 0.0 if likelihood.discrete else -float(preprocess.log_abs_det())
    baseline = -float(likelihood.marginal(train).log_prob(test).double().sum(-1).mean()) + shift
    floor = float(likelihood.entropy_floor(test).double().mean()) + shift
    return Fit(name, preprocess.kind, np.asarray(refused), baseline, floor, not likelihood.discrete)


def parts_of(dataset: Dataset) -> tuple[Rows, Rows, Rows]:
    """The training, validation and test rows."""
    return dataset.train, dataset.valid, dataset.test


def _prepared(likelihood: Likelihood, dataset: Dataset, kind: str | None) -> Preprocess:
    size = len(dataset.columns)
    return build_preprocess(
        kind, num_columns=size, support=likelihood.support, discrete=likelihood.discrete, data=dataset
    )[0]


def _outside(likelihood: Likelihood, u: Tensor) -> Array:
    return outside(u, likelihood.support).sum(0).numpy()


def helping(likelihood: Likelihood, dataset: Dataset) -> str:
    """The preprocessings after which the likelihood accepts every value."""
    helping = []
    for kind in KINDS:
        preprocess = _prepared(likelihood, dataset, kind)
        parts = [preprocess.transform(torch.from_numpy(part.x)) for part in parts_of(dataset)]
        if not any(_outside(likelihood, u).any() for u in parts):
            helping.append(f"data.preprocess={kind}")
    return f", or keep it with {' or '.join(helping)}" if helping else ""
