"""Each value to its place among the column's values."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.errors import check_parameter


class Places(Scaling):
    """Numbers that stand for categories, such as 1, 2 and 5, to 0, 1 and 2: their places among the known ones.

    A value that is not known becomes -1, which is no place; or the nearest one, where places are levels in an order. An
    empty cell stays empty.

    Args:
        num_columns: C.
        known: the values of each column, rising; C rows, K numbers in the longest.
        nearest: whether other values stand for the nearest known one.

    Raises:
        ConfigError: when these are not a row of rising values for each column.
    """

    CHOOSABLE = False
    known: Tensor
    _padded: Tensor

    def __init__(self, num_columns: int, known: Sequence[Sequence[float]], nearest: bool = False) -> None:
        super().__init__(num_columns)
        legal = len(known) == num_columns and all(len(row) > 0 for row in known)
        legal = legal and all(bool((torch.tensor(list(row)).double().diff() > 0).all()) for row in known)
        check_parameter("Places", "known", legal, "a row of rising values for each column", known)
        check_parameter("Places", "nearest", isinstance(nearest, bool), "true or false", nearest)
        self.nearest = nearest
        self.sizes = [len(row) for row in known]
        size = 1 << max(self.sizes).bit_length()  # at least one more than there are, so that each has a next
        rows = [[*row, *[row[-1]] * (size - len(row))] for row in known]
        self.register_buffer("known", torch.tensor(rows, dtype=torch.float64))
        is_known = torch.arange(size) < torch.tensor(self.sizes).unsqueeze(-1)
        self.register_buffer("_padded", self.known.where(is_known, torch.inf), persistent=False)

    def options(self) -> dict[str, object]:
        known = [row[:size] for row, size in zip(self.known.tolist(), self.sizes, strict=True)]
        return {"known": known, "nearest": self.nearest}

    @property
    def known_values(self) -> list[Sequence[float] | None]:
        return [None if self.nearest else row[:size] for row, size in zip(self.known.tolist(), self.sizes, strict=True)]

    @property
    def description(self) -> str:
        return "places among known values"

    def transform(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        wide = x.to(torch.float64)
        # By bisection in as many steps as K has halvings, which any exporter can write down.
        size = self.known.shape[1]
        row = torch.arange(self.num_columns, device=x.device) * size
        flat, index = self._padded.flatten(), row.expand(x.shape)
        half = size // 2
        while half:
            index = index + half * (flat[index + half] <= wide)
            half //= 2
        below, above = flat[index], flat[index + 1]
        places = torch.where(below == wide, index - row, -1)
        if self.nearest:
            places = index - row + (wide - below > above - wide).long()
        return torch.where(torch.isnan(wide), torch.nan, places).to(torch.float32)

    def inverse(self, u: Tensor) -> Tensor:
        last = torch.tensor(self.sizes, device=u.device) - 1
        place = torch.where(torch.isnan(u), 0.0, u).round().clamp(min=0).minimum(last)
        return self.known.T.gather(0, place.long().reshape(-1, self.num_columns)).reshape(u.shape)

    def count_clipped(self, x: Tensor) -> Tensor:
        wide = x.to(torch.float64).reshape(-1, self.num_columns)
        moved = (self.inverse(self.transform(wide)) != wide) & ~torch.isnan(wide)
        return moved.sum(0) if self.nearest else super().count_clipped(x)
