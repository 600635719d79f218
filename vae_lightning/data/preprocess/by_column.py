"""Several scalings side by side: each column has its own."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.family import count_names
from vae_lightning.likelihoods.moments import RowBatches, SomeColumns, column_ranges


class ByColumn(Scaling):
    """Scalings over blocks of columns.

    Args:
        num_columns: C.
        blocks: each a scaling and the columns, from 0 to C - 1, that it maps, in its order.
        bounded: draws keep to the range that each column has in the training rows.
        decimals: to how many decimals draws of each column are rounded, C of them; None where they are not.
        together: columns that are one number together, such as the weeks, weekdays and hours of a date, that which
            counts most first: draws keep to the range of that number, too.

    Raises:
        ConfigError: when a column has no block, or two; or when a block has another number of columns.
    """

    CHOOSABLE = False
    low: Tensor
    high: Tensor
    first: Tensor
    last: Tensor
    _order: Tensor

    def __init__(
        self,
        num_columns: int,
        blocks: Sequence[tuple[Scaling, Sequence[int]]],
        bounded: bool = False,
        decimals: Sequence[int | None] | None = None,
        together: Sequence[Sequence[int]] = (),
    ) -> None:
        super().__init__(num_columns)
        columns = [column for _, block in blocks for column in block]
        legal = sorted(columns) == list(range(num_columns)) and all(
            scaling.num_columns == len(block) for scaling, block in blocks
        )
        words = f"scalings whose columns are 0 to {num_columns - 1}, each once"
        check_parameter("ByColumn", "blocks", legal, words, [list(block) for _, block in blocks])
        self.parts = nn.ModuleList(scaling for scaling, _ in blocks)
        self.columns = [list(block) for _, block in blocks]
        self.bounded = bounded
        self.decimals = [None] * num_columns if decimals is None else list(decimals)
        self.together = [list(places) for places in together]
        self.is_invertible = all(scaling.is_invertible for scaling, _ in blocks)
        self.register_buffer("_order", torch.tensor(columns).argsort(), persistent=False)
        self.register_buffer("low", torch.zeros(num_columns, dtype=torch.float64))
        self.register_buffer("high", torch.zeros(num_columns, dtype=torch.float64))
        if self.together:
            self.register_buffer("first", torch.zeros(num_columns, dtype=torch.float64))
            self.register_buffer("last", torch.zeros(num_columns, dtype=torch.float64))

    def _fit(self, rows: RowBatches) -> None:
        for part, columns in self._blocks():
            part.fit(SomeColumns(rows, columns))
        low, high = column_ranges(rows)
        self.low.copy_(low)
        self.high.copy_(high)
        for places in self.together:
            ends = torch.empty(0, len(places), dtype=torch.float64)
            for batch in rows.batches():
                cells = batch.x[:, places].double()
                seen = cells if batch.mask is None else cells[batch.mask[:, places].all(1)]
                whole = torch.cat([ends.to(seen), seen])
                ends = torch.stack([-_greatest(-whole), _greatest(whole)]) if len(whole) else ends
            if len(ends):
                self.first[places], self.last[places] = ends.to(self.first)

    def options(self) -> dict[str, object]:
        blocks = [{"name": part.name(), "columns": columns, **part.options()} for part, columns in self._blocks()]
        together = {"together": self.together} if self.together else {}
        return {"blocks": blocks, "bounded": self.bounded, "decimals": self.decimals, **together}

    @property
    def column_names(self) -> list[str]:
        names = [part.name() for part, columns in self._blocks() for _ in columns]
        return [names[place] for place in self._order.tolist()]

    @property
    def words(self) -> str:
        return f"by column: {count_names(self.column_names)}"

    @property
    def known_values(self) -> list[Sequence[float] | None]:
        values = [one for part, _ in self._blocks() for one in part.known_values]
        return [values[place] for place in self._order.tolist()]

    @property
    def description(self) -> str:
        return " and ".join(dict.fromkeys(part.description for part, _ in self._blocks()))

    def transform(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self._gather([part.transform(x[..., columns], generator) for part, columns in self._blocks()])

    def inverse(self, u: Tensor) -> Tensor:
        return self._gather([part.inverse(u[..., columns]) for part, columns in self._blocks()])

    def inverse_stddev(self, stddev: Tensor, mean: Tensor) -> Tensor:
        return self._gather([part.inverse_stddev(stddev[..., at], mean[..., at]) for part, at in self._blocks()])

    def bound(self, x: Tensor) -> Tensor:
        x = x.clamp(self.low, self.high) if self.bounded else x
        places = torch.tensor([10.0 ** (one or 0) for one in self.decimals], dtype=x.dtype, device=x.device)
        rounded = torch.tensor([one is not None for one in self.decimals], device=x.device)
        return torch.where(rounded, (x * places).round() / places, x)

    def bound_rows(self, x: Tensor) -> Tensor:
        x = self.bound(x)
        for places in self.together if self.bounded else ():
            cells = x[..., places]
            for end, sign in ((self.first[places], -1), (self.last[places], 1)):
                cells = torch.where(_is_greater(sign * cells, sign * end)[..., None], end.to(x), cells)
            x[..., places] = cells
        return x

    def log_slopes(self, u: Tensor) -> Tensor:
        return self._gather([part.log_slopes(u[..., columns]) for part, columns in self._blocks()])

    def mean_log_slopes(self) -> Tensor:
        return self._gather([part.mean_log_slopes() for part, _ in self._blocks()])

    def max_log_slopes(self) -> Tensor:
        return self._gather([part.max_log_slopes() for part, _ in self._blocks()])

    def count_clipped(self, x: Tensor) -> Tensor:
        return self._gather([part.count_clipped(x[..., columns]) for part, columns in self._blocks()])

    def _gather(self, parts: list[Tensor]) -> Tensor:
        # Some statistics are constants, made where no scaling is.
        joined = torch.cat([part.to(self._order.device) for part in parts], -1)
        return joined.index_select(-1, self._order)

    def _blocks(self) -> Iterator[tuple[Scaling, list[int]]]:
        return zip(self.parts, self.columns, strict=True)  # type: ignore[arg-type]


def _greatest(rows: Tensor) -> Tensor:
    """The greatest row (P,) of some (N, P), by its first column, where that is equal by the second, and so on."""
    for column in range(rows.shape[1]):
        rows = rows[rows[:, column] == rows[:, column].max()]
    return rows[0]


def _is_greater(rows: Tensor, end: Tensor) -> Tensor:
    """Which rows (..., P) are greater than ``end`` (P,) in the same sense, shape (...)."""
    greater = torch.zeros(rows.shape[:-1], dtype=torch.bool, device=rows.device)
    same = ~greater
    for column, value in zip(rows.unbind(-1), end, strict=True):
        greater = greater | (same & (column > value))
        same = same & (column == value)
    return greater
