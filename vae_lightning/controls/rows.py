"""Fewer rows: what bounds the cost of fitting a control."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.likelihoods.moments import RowBatches


class SomeRows(NamedTuple):
    """Rows (B, C) with the parts that a control looks at."""

    x: Tensor
    mask: Tensor | None
    weight: Tensor | None

    def batches(self) -> Iterator["SomeRows"]:
        """All at once."""
        return iter([self])

    @classmethod
    def of(cls, parts: list["SomeRows"]) -> "SomeRows":
        """All rows of parts that are alike."""
        joined = (None if part[0] is None else torch.cat(part) for part in zip(*parts, strict=True))
        return cls(*joined)  # type: ignore[arg-type]


def spread(rows: RowBatches, most: int) -> Iterator[SomeRows]:
    """At most some ``most`` of the rows, evenly spaced, a batch at a time; all of them where they are no more."""
    share = min(1.0, most / max(1, sum(len(batch.x) for batch in rows.batches())))
    for batch in rows.batches():
        parts = SomeRows(batch.x, batch.mask, batch.weight)
        kept = max(1, round(share * len(batch.x)))
        index = torch.linspace(0, len(batch.x) - 1, kept, device=batch.x.device).long()
        yield parts if share == 1 else SomeRows(*(None if part is None else part[index] for part in parts))  # type: ignore[arg-type]
