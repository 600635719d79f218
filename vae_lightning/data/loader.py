"""Batches of rows that are already in memory."""

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from vae_lightning.data.split import check_count, check_seed
from vae_lightning.errors import DataError


class BatchLoader:
    """Cuts a tensor in memory into batches by indexing: no worker processes, no loop over rows.

    The order of an epoch depends on ``(seed, epoch)`` alone, so a resumed run sees the batches that an uninterrupted
    one would have seen. The epoch is 0 until `set_epoch` says otherwise; iterating does not advance it.

    With several processes, a shuffled loader gives each the same number of rows, starting the shuffled order again
    where they do not divide evenly, as processes that train together must take equally many steps. An unshuffled
    loader, which measures, gives each row to exactly one process, so the processes' shares may differ by one row.

    Args:
        rows: Shape ``(N, C)``. Unshuffled batches are views of it: do not write into them.
        batch_size: Rows in a batch; the last one of an epoch may be smaller, but a single left-over training row joins
            the batch before it.
        shuffle: Whether the order changes each epoch.
        seed: Of the order and of ``draw``.
        rank: Which of the processes this one is.
        world_size: How many processes share the rows.
        draw: Applied to each batch, with a generator (on the rows' device) that depends on ``(seed, epoch, rank)``:
            re-sampling of grey levels into bits, for example.

    Raises:
        DataError: No rows, a batch size below 1, or a rank that does not exist.

    Example:
        >>> loader = BatchLoader(torch.arange(5.0)[:, None], batch_size=2)
        >>> [len(batch) for batch in loader]
        [2, 2, 1]
    """

    def __init__(
        self,
        rows: Tensor,
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        draw: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ) -> None:
        check_count("BatchLoader", "batch_size", batch_size)
        check_count("BatchLoader", "world_size", world_size)
        check_seed(seed)
        if not 0 <= rank < world_size:
            raise DataError(
                f"The 'rank' parameter of BatchLoader must be from 0 to {world_size - 1}. Got {rank!r} instead."
            )
        if rows.ndim != 2 or not len(rows):
            raise DataError(
                "The 'rows' parameter of BatchLoader must be a tensor of shape (N, C) with at least one row. "
                f"Got shape {tuple(rows.shape)} instead."
            )
        self.rows = rows
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.draw = draw
        self.epoch = 0

    @property
    def num_rows(self) -> int:
        """The rows that this process sees in an epoch."""
        if self.shuffle:
            return -(-len(self.rows) // self.world_size)
        start, stop = self._share()
        return stop - start

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order and draws the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.num_rows // self.batch_size) - self._joins_last_row()

    def _joins_last_row(self) -> bool:
        """Whether a shuffled epoch would end in a batch of one row, of which batch normalisation has no variance."""
        return self.shuffle and self.batch_size > 1 and self.num_rows % self.batch_size == 1 and self.num_rows > 1

    def __iter__(self) -> Iterator[Tensor]:
        batches = self._shuffled() if self.shuffle else self._sequential()
        if self.draw is None:
            return batches
        return self._drawn(batches, self.draw)

    def _share(self) -> tuple[int, int]:
        total = len(self.rows)
        return self.rank * total // self.world_size, (self.rank + 1) * total // self.world_size

    def _sequential(self) -> Iterator[Tensor]:
        start, stop = self._share()
        for first in range(start, stop, self.batch_size):
            yield self.rows[first : min(first + self.batch_size, stop)]

    def _shuffled(self) -> Iterator[Tensor]:
        # On the CPU whatever the rows' device, so that every device and every process has the same order.
        order = torch.randperm(len(self.rows), generator=self._generator("cpu", 0))
        if self.world_size > 1:
            padded = torch.arange(self.num_rows * self.world_size) % len(order)
            order = order[padded][self.rank :: self.world_size]
        order = order.to(self.rows.device)
        sizes = [self.batch_size] * (len(order) // self.batch_size)
        remainder = len(order) % self.batch_size
        if self._joins_last_row():
            sizes[-1] += 1
        elif remainder:
            sizes.append(remainder)
        for index in order.split(sizes):
            yield self.rows.index_select(0, index)

    def _drawn(self, batches: Iterator[Tensor], draw: Callable[[Tensor, torch.Generator], Tensor]) -> Iterator[Tensor]:
        generator = self._generator(self.rows.device, 1, self.rank)
        for batch in batches:
            yield draw(batch, generator)

    def _generator(self, device: torch.device | str, *purpose: int) -> torch.Generator:
        # SeedSequence mixes the numbers so that (seed, epoch + 1) and (seed + 1, epoch) have nothing in common.
        state = np.random.SeedSequence([self.seed, self.epoch, *purpose]).generate_state(1, np.uint64)
        return torch.Generator(device=device).manual_seed(int(state[0]))


class BlockLoader:
    """Hands batches over a few at a time, as tuples.

    A training loop that does much around every batch does it once per block instead; the batches are the same.

    Args:
        batches: the loader of the single batches.
        size: batches in a block; the last block of an epoch may be smaller.

    Example:
        >>> blocks = BlockLoader(BatchLoader(torch.arange(5.0)[:, None], batch_size=1), size=2)
        >>> [len(block) for block in blocks], len(blocks)
        ([2, 2, 1], 3)
    """

    def __init__(self, batches: BatchLoader, size: int) -> None:
        check_count("BlockLoader", "size", size)
        self.batches = batches
        self.size = size

    def __len__(self) -> int:
        return -(-len(self.batches) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        batches = iter(self.batches)
        while block := tuple(islice(batches, self.size)):
            yield block
