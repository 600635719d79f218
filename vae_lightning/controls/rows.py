"""Fewer rows: what bounds the cost of fitting a control."""

from collections.abc import Iterator

import torch

from vae_lightning.data.batch import Batch, Batches


def spread(rows: Batches, most: int) -> Iterator[Batch]:
    """Some ``most`` of the rows, evenly spaced, a batch at a time; all of them where they are no more."""
    share = min(1.0, most / max(1, sum(len(batch.x) for batch in rows.batches())))
    for batch in rows.batches():
        index = torch.linspace(0, len(batch.x) - 1, max(1, round(share * len(batch.x))), device=batch.x.device).long()
        yield batch.select(index)
