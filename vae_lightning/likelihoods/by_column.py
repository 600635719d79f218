"""Several families side by side: each column has its own likelihood."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.family import count_names
from vae_lightning.likelihoods.moments import RowBatch, RowBatches, SomeColumns, SomeColumnsBatch


class ByColumn(Likelihood):
    """Families over blocks of columns: ``log p(x|raw)`` of a column is that of its block.

    The raw numbers of the blocks stand one after the other.

    Args:
        num_columns: number of columns C.
        blocks: each a likelihood and the columns, from 0 to C - 1, that it reads, in its order.

    Raises:
        ConfigError: when a column has no block, or two; or when a block has another number of columns.

    >>> from vae_lightning.likelihoods.gaussian import Gaussian
    >>> from vae_lightning.likelihoods.poisson import Poisson
    >>> mixed = ByColumn(3, [(Gaussian(2), [0, 2]), (Poisson(1), [1])])
    >>> [support.words for support in mixed.supports]
    ['real numbers', 'whole numbers from 0 on', 'real numbers']
    """

    CHOOSABLE = False
    _order: Tensor

    def __init__(self, num_columns: int, blocks: Sequence[tuple[Likelihood, Sequence[int]]]) -> None:
        columns = [column for _, block in blocks for column in block]
        legal = sorted(columns) == list(range(num_columns)) and all(
            likelihood.num_columns == len(block) for likelihood, block in blocks
        )
        words = f"likelihoods whose columns are 0 to {num_columns - 1}, each once"
        check_parameter("ByColumn", "blocks", legal, words, [list(block) for _, block in blocks])
        supports = [support for likelihood, _ in blocks for support in likelihood.supports]
        order = torch.tensor(columns).argsort()
        super().__init__(num_columns, [supports[position] for position in order])
        self.parts = nn.ModuleList(likelihood for likelihood, _ in blocks)
        self.columns = [list(block) for _, block in blocks]
        self.raw_sizes = [likelihood.raw_size for likelihood, _ in blocks]
        self.raw_size = sum(self.raw_sizes)
        self.statistics_size = sum(likelihood.statistics_size for likelihood, _ in blocks)
        self.register_buffer("_order", order, persistent=False)
        located = [
            torch.where(part.column_of_raw < 0, -1, torch.tensor(block)[part.column_of_raw]) for part, block in blocks
        ]
        self.column_of_raw = torch.cat(located)

    @property
    def column_names(self) -> list[str]:
        names = [part.name() for part, columns in zip(self._likelihoods(), self.columns, strict=True) for _ in columns]
        return [names[place] for place in self._order.tolist()]

    @property
    def words(self) -> str:
        return f"auto: {count_names(self.column_names)}"

    def forward(self, raw: Tensor) -> "PredictiveByColumn":
        parts = [part(piece) for part, piece in zip(self.parts, raw.split(self.raw_sizes, -1), strict=True)]
        return PredictiveByColumn(parts, self.columns, self._order)

    def max_log_prob(self) -> Tensor:
        return torch.cat([part.max_log_prob() for part in self._likelihoods()])[self._order.cpu()]

    def independent_columns(self, rows: RowBatches) -> Predictive:
        parts = [
            part.independent_columns(SomeColumns(rows, columns))
            for part, columns in zip(self._likelihoods(), self.columns, strict=True)
        ]
        return PredictiveByColumn(parts, self.columns, self._order)

    def start_from(self, rows: RowBatches, residual: Tensor | None = None, held: Tensor | None = None) -> Tensor:
        starts = [
            part.start_from(
                SomeColumns(rows, columns),
                None if residual is None else residual[columns],
                None if held is None else held[columns],
            )
            for part, columns in zip(self._likelihoods(), self.columns, strict=True)
        ]
        return torch.cat([start.float() for start in starts])

    def fit_variances(self, residual: Tensor, held: Tensor) -> Tensor:
        pairs = zip(self._likelihoods(), self.columns, strict=True)
        return torch.cat([part.fit_variances(residual[at], held[at]) for part, at in pairs])[self._order.cpu()]

    def entropy_floor(self, x: Tensor) -> Tensor:
        pairs = zip(self._likelihoods(), self.columns, strict=True)
        return torch.cat([part.entropy_floor(x[..., columns]) for part, columns in pairs], -1)[..., self._order]

    def at_floor(self, p: Predictive) -> Tensor:
        assert isinstance(p, PredictiveByColumn)
        shares = [
            part.at_floor(one) * len(columns)
            for part, one, columns in zip(self._likelihoods(), p.parts, self.columns, strict=True)
        ]
        return torch.stack(shares).sum() / self.num_columns

    def statistics(self, p: Predictive, batch: RowBatch) -> Tensor:
        assert isinstance(p, PredictiveByColumn)
        return torch.cat(
            [
                part.statistics(one, SomeColumnsBatch(batch, columns))
                for part, one, columns in zip(self._likelihoods(), p.parts, self.columns, strict=True)
                if part.statistics_size
            ]
        )

    def update(self, statistics: Tensor) -> None:
        fitted = [part for part in self._likelihoods() if part.statistics_size]
        sizes = [part.statistics_size for part in fitted]
        for part, piece in zip(fitted, statistics.split(sizes), strict=True):
            part.update(piece)

    def _likelihoods(self) -> list[Likelihood]:
        return list(self.parts)  # type: ignore[arg-type]


class PredictiveByColumn(Predictive):
    """The predictions of several blocks of columns, put back into the columns' order.

    Args:
        parts: one for each block.
        columns: the columns of each block.
        order: for each column its place among the blocks' columns.
    """

    def __init__(self, parts: Sequence[Predictive], columns: Sequence[Sequence[int]], order: Tensor) -> None:
        self.parts = parts
        self.columns = columns
        self.order = order

    def log_prob(self, x: Tensor) -> Tensor:
        pairs = zip(self.parts, self.columns, strict=True)
        return self._gather([part.log_prob(x[..., columns]) for part, columns in pairs])

    def sample(self) -> Tensor:
        return self._gather([part.sample() for part in self.parts])

    def expose(self, log_exposure: Tensor) -> Predictive:
        return PredictiveByColumn([part.expose(log_exposure) for part in self.parts], self.columns, self.order)

    @property
    def mean(self) -> Tensor:
        return self._gather([part.mean for part in self.parts])

    @property
    def stddev(self) -> Tensor:
        shapes = [part.mean for part in self.parts]
        return self._gather([part.stddev.expand_as(mean) for part, mean in zip(self.parts, shapes, strict=True)])

    @property
    def point(self) -> Tensor:
        return self._gather([part.point for part in self.parts])

    @property
    def bulk(self) -> tuple[Tensor, Tensor]:
        places, reaches = zip(*(part.bulk for part in self.parts), strict=True)
        return self._gather(list(places)), self._gather(list(reaches))

    def _gather(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, -1).index_select(-1, self.order)
