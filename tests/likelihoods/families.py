"""The families of likelihoods, found in their folder, in every mode they have; raw numbers and rows for them."""

from collections.abc import Callable
from itertools import product
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.base import Likelihood

FAMILIES = Likelihood.families()
EXTREMES = (-1e8, -1e4, 1e4, 1e8)
MODERATE = (-3.0, -1.0, -0.3, 0.4, 1.2, 2.5)
DTYPES = [torch.float32, torch.float64]
C = 4


OPTIONS: dict[str, list[dict[str, Any]]] = {"categorical": [{}, {"levels": 3}], "ordinal": [{}, {"levels": 2}]}
OPTIONS["discretized_logistic"] = [{"levels": 17}, {"levels": 256}]
"""Numbers that change what a family is, beside its defaults."""


def modes(name: str) -> list[dict[str, Any]]:
    """Every combination of the choices that the constructor's ``Literal`` parameters offer, with each of `OPTIONS`."""
    hints = get_type_hints(FAMILIES[name].__init__)
    choices = {key: get_args(hint) for key, hint in hints.items() if get_origin(hint) is Literal}
    return [
        dict(zip(choices, combination, strict=True)) | options
        for combination in product(*choices.values())
        for options in OPTIONS.get(name, [{}])
    ]


MODES = [
    pytest.param((name, mode), id="-".join([name, *map(str, mode.values())]))
    for name in FAMILIES
    for mode in modes(name)
]
Make = Callable[..., Likelihood]


def rows_of(x: Tensor, mask: Tensor | None = None, weight: Tensor | None = None) -> RowsInMemory:
    return RowsInMemory(Batch(x, mask, None, weight))


def raw_like(likelihood: Likelihood, rows: int, scale: float = 1.5, dtype: torch.dtype = torch.float32) -> Tensor:
    return scale * torch.randn(rows, likelihood.raw_size, dtype=dtype)


def data_like(likelihood: Likelihood, rows: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows that the family itself calls likely: one distribution, whose columns differ from one another."""
    return likelihood(raw_like(likelihood, 1, dtype=dtype).expand(rows, -1)).sample()


def raw_grid(likelihood: Likelihood, values: tuple[float, ...], dtype: torch.dtype) -> Tensor:
    """Every combination of ``values`` for the raw numbers of a likelihood of one column."""
    return torch.tensor(list(product(values, repeat=likelihood.raw_size)), dtype=dtype)


def own_parameters_at(likelihood: Likelihood, values: tuple[float, ...] | float | None) -> None:
    """Set every parameter of the family's own to one value, or each to its own; None leaves them."""
    parameters = list(likelihood.parameters())
    each = values if isinstance(values, tuple) else (values,) * len(parameters)
    for parameter, value in zip(parameters, each, strict=True):
        if value is not None:
            parameter.data.fill_(value)


def own_values(likelihood: Likelihood, *values: float) -> list[tuple[float, ...] | None]:
    """The settings of its own parameters to try, in every combination; families without any have one."""
    size = len(list(likelihood.parameters()))
    return [None, *product(values, repeat=size)] if size else [None]
