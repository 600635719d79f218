"""The second parameter of a family beside its mean: a dispersion, a shape, a concentration, three ways to set it."""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.bounds import REACHABLE, smooth_between, smooth_between_inverse

ShapeKind = Literal["shared", "per_column", "predicted"]
SHAPE_KINDS: tuple[ShapeKind, ...] = get_args(ShapeKind)


class Shape(nn.Module):
    """A positive number v for each column, ``log v`` bounded smoothly between ``log low`` and ``log high``; 1 at first.

    Args:
        num_columns: number of columns C.
        kind: ``shared``: one learned number. ``per_column``: one for each column. ``predicted``: emitted by the decoder
            for each entry, C raw numbers more.
        low: infimum of v, below 1.
        high: supremum of v, above 1.
        owner: the family, for messages.
        kind_name: what the family calls ``kind``.

    Attributes:
        raw_size: raw numbers that the decoder emits for it, C or 0.

    Raises:
        ConfigError: for an unknown kind.
    """

    def __init__(self, num_columns: int, kind: ShapeKind, low: float, high: float, owner: str, kind_name: str) -> None:
        super().__init__()
        check_parameter(owner, kind_name, kind in SHAPE_KINDS, f"one of {', '.join(SHAPE_KINDS)}", kind)
        self.low, self.high = math.log(low), math.log(high)
        self.num_columns = num_columns
        self.raw_size = num_columns if kind == "predicted" else 0
        size = {"shared": 1, "per_column": num_columns}.get(kind)
        self.raw_log = nn.Parameter(torch.zeros(size)) if size else None
        self.is_shared = kind == "shared"

    def split(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Raw numbers (..., C + raw_size) → those of the mean (..., C) and v, broadcastable to them."""
        if self.raw_log is not None:
            return raw, self._bound(self.raw_log)
        rest, raw_log = raw.chunk(2, dim=-1)
        return rest, self._bound(raw_log)

    def _bound(self, raw: Tensor) -> Tensor:
        return smooth_between(raw, self.low, self.high).exp()

    @torch.no_grad()
    def start(self, value: Tensor) -> Tensor:
        """Start from v (C,); the raw numbers that say so, shape (raw_size,)."""
        raw = smooth_between_inverse(value.log(), self.low, self.high).float()
        if self.raw_log is None:
            return raw
        self.raw_log.copy_(raw[: len(self.raw_log)])
        return raw[:0]

    def maximise(self, log_prob: Callable[[Tensor], Tensor]) -> Tensor:
        """The v (C,) that maximise ``log_prob`` (C,) → (C,) within what can be started from, float64; one where shared.

        Args:
            log_prob: of each column's rows at v.
        """
        ends = REACHABLE * torch.tensor([self.low, self.high], dtype=torch.float64)

        def at(log_value: Tensor) -> Tensor:
            found = log_prob(log_value.exp())
            return found.sum().expand_as(found) if self.is_shared else found

        low, high = (end.expand(self.num_columns) for end in ends)
        return maximise(at, low, high).exp()

    def share_near(self, value: Tensor, end: float) -> Tensor:
        """Share of ``value`` as near to an end, the log of its bound, as can be started from, 0-dim."""
        return ((value.log() - end).abs() < (1 - REACHABLE) * abs(end) + 0.1).to(value.dtype).mean()


GOLDEN = (math.sqrt(5) - 1) / 2


def maximise(function: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, steps: int = 24) -> Tensor:
    """Where functions of one number each, elementwise, are greatest between ``low`` and ``high``: golden section.

    To 10⁻⁵ of the interval; of a function with several maxima, one of them.

    >>> maximise(lambda v: -((v - 1) ** 2), torch.zeros(1), torch.full((1,), 3.0)).round(decimals=3)
    tensor([1.])
    """
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(steps):
        lower = at_left > at_right
        low, high = torch.where(lower, low, left), torch.where(lower, right, high)
        left, right = (
            torch.where(lower, high - GOLDEN * (high - low), right),
            torch.where(lower, left, low + GOLDEN * (high - low)),
        )
        new = function(torch.where(lower, left, right))
        at_left, at_right = torch.where(lower, new, at_right), torch.where(lower, at_left, new)
    return (low + high) / 2
