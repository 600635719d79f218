"""What the encoder sees of a row: never scored, so it has no Jacobian."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae_lightning.data.batch import Batch
from vae_lightning.likelihoods.moments import RowBatches, column_means
from vae_lightning.likelihoods.support import REAL, Support

MAX_ONE_HOT = 32
"""Categories of a column up to which each has a feature of its own; a column with more is embedded."""
MAX_EMBEDDING = 32
"""Most features that such a column is embedded in: √k for k categories, no more than this."""


class Features(nn.Module):
    """Rows x (B, C) → features u (B, H): as supports show columns, holes filled, mask and condition appended.

    Numbers come first, in the order of their columns: one feature each. Then the columns of up to 32 categories: 0 or
    1 for each category. Then those of more, by learned embeddings. A masked cell is 0 in all of its features.

    Part of the VAE, so that it is saved and exported with it. Columns of which nothing can be learned are hidden: what
    an encoder makes of a column that is always the same is whatever its weights happen to be, times thousands of
    standard deviations on the day when it differs.

    Args:
        supports: of the columns, C of them.
        condition_size: numbers K of a row's condition.
        sees_mask: append which cells were observed, as 0 and 1; a batch without a mask counts as fully observed.

    Attributes:
        size: H.
        feature_of_column: which feature a column of numbers is, -1 for a column of categories, shape (C,), on the CPU.
        shown: (C,), 1 for the columns that the encoder sees; the others are 0 for it. None where no column is real.
    """

    fill: Tensor
    shown: Tensor | None
    mean: Tensor
    scale: Tensor

    def __init__(self, supports: Sequence[Support], condition_size: int = 0, sees_mask: bool = False) -> None:
        super().__init__()
        self.condition_size = condition_size
        self.sees_mask = sees_mask
        self.supports = tuple(supports)
        #: The kinds of columns that the encoder does not see as they are.
        self.changed = [one for one in dict.fromkeys(supports) if type(one).to_features is not Support.to_features]
        for number, kind in enumerate(self.changed):
            self.register_buffer(f"kind_{number}", torch.tensor([one == kind for one in supports]), persistent=False)
        self.register_buffer("fill", torch.tensor([support.fill for support in supports]), persistent=False)
        self.register_buffer("shown", torch.ones(len(supports)) if REAL in supports else None)
        self.register_buffer("mean", torch.zeros(len(supports)) if self.changed else None)
        self.register_buffer("scale", torch.ones(len(supports)) if self.changed else None)
        is_number = torch.tensor([not support.levels for support in supports])
        self.feature_of_column = torch.where(is_number, is_number.cumsum(0) - 1, -1)
        self.categories = None if is_number.all() else CategoryFeatures([support.levels for support in supports])
        shown_as = len(supports) if self.categories is None else self.categories.size
        self.size = shown_as + (len(supports) if sees_mask else 0) + condition_size

    def fill_masked(self, batch: Batch) -> Tensor:
        """``x`` with a legal value in every masked cell, so that nothing that stands there can spread."""
        return batch.x if batch.mask is None else torch.where(batch.mask, batch.x, self.fill)

    def forward(self, batch: Batch) -> Tensor:
        """Features of B rows, shape (B, H).

        Raises:
            ValueError: when the batch lacks a condition of the size that the model was made for.
        """
        u = x = self.fill_masked(batch)
        if self.changed:
            u = (self._show(u) - self.mean) / self.scale
            if batch.mask is not None:
                u = torch.where(batch.mask, u, 0.0)
        if self.shown is not None:
            u = torch.where(self.shown > 0, u, 0.0)
        if self.categories is not None:
            u = self.categories(u, x, batch.mask)
        parts = [u]
        if self.sees_mask:
            parts.append(torch.ones_like(x) if batch.mask is None else batch.mask.to(u.dtype))
        return append_condition(torch.cat(parts, -1) if len(parts) > 1 else u, batch.condition, self.condition_size)

    def _show(self, x: Tensor) -> Tensor:
        """Each column as its support shows it."""
        shown = x
        for number, kind in enumerate(self.changed):
            shown = torch.where(getattr(self, f"kind_{number}"), kind.to_features(x), shown)
        return shown

    @torch.no_grad()
    def fit(self, rows: RowBatches, hidden: Tensor | None = None) -> None:
        """Take the mean and scale of the features that want it from training rows (N, C), and which to hide (C,)."""
        if self.shown is not None and hidden is not None:
            self.shown.copy_(~hidden)
        if not self.changed:
            return
        # Masked cells may hold anything: the folds leave them out, whatever comes of them here.
        mean = column_means(rows, self._show)
        scale = column_means(rows, lambda x: (self._show(x) - mean).square()).sqrt()
        wanted = torch.tensor([support.standardizes_features for support in self.supports])
        self.mean.copy_(torch.where(wanted, mean.cpu(), 0.0))
        self.scale.copy_(torch.where(wanted & (scale.cpu() > 0), scale.cpu(), 1.0))


class CategoryFeatures(nn.Module):
    """Numbers as they are, columns of categories as one-hot features or embeddings; all columns at a time.

    Args:
        levels: categories of each column; 0 for a column of numbers.

    Attributes:
        size: features of a row.
    """

    numbers: Tensor
    columns: Tensor
    codes: Tensor
    embedded: Tensor
    offsets: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        one_hot = [(column, code) for column, k in enumerate(levels) if k <= MAX_ONE_HOT for code in range(k)]
        embedded = [column for column, k in enumerate(levels) if k > MAX_ONE_HOT]
        sizes = torch.tensor([levels[column] for column in embedded], dtype=torch.long)
        indices = {
            "numbers": [column for column, k in enumerate(levels) if not k],
            "columns": [column for column, _ in one_hot],
            "codes": [code for _, code in one_hot],
            "embedded": embedded,
            # All tables stand in one: where that of each column begins.
            "offsets": (sizes.cumsum(0) - sizes).tolist(),
        }
        for name, values in indices.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.long), persistent=False)
        self.size = len(self.numbers) + len(one_hot)
        self.embedding: nn.Embedding | None = None
        if embedded:
            width = min(MAX_EMBEDDING, math.ceil(math.sqrt(int(sizes.max()))))
            self.embedding = nn.Embedding(int(sizes.sum()), width)
            # Together the features of a column vary as much as one standardized number.
            nn.init.normal_(self.embedding.weight, std=width**-0.5)
            self.size += width * len(embedded)

    def forward(self, u: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        """Features (B, size) of rows.

        Args:
            u: features of numbers at the place of their columns, (B, C).
            x: values, (B, C), codes of categories among them, a legal one in masked cells.
            mask: which cells were observed, (B, C).
        """
        one_hot = x.index_select(-1, self.columns) == self.codes
        if mask is not None:
            one_hot = one_hot & mask.index_select(-1, self.columns)
        parts = [u.index_select(-1, self.numbers), one_hot.to(u.dtype)]
        if self.embedding is not None:
            points = self.embedding(x.index_select(-1, self.embedded).long() + self.offsets)
            if mask is not None:
                points = torch.where(mask.index_select(-1, self.embedded).unsqueeze(-1), points, 0.0)
            parts.append(points.flatten(-2).to(u.dtype))
        return torch.cat(parts, -1)


def append_condition(u: Tensor, condition: Tensor | None, size: int) -> Tensor:
    """``u`` (..., B, H) with a condition (B, size) beside each row.

    Raises:
        ValueError: when the condition has another size than the model was made for.
    """
    given = 0 if condition is None else condition.shape[-1]
    if given != size:
        raise ValueError(f"The 'condition' of a batch must have {size} numbers a row. Got {given} instead.")
    if condition is None:
        return u
    return torch.cat([u, condition.expand(*u.shape[:-1], size)], -1)
