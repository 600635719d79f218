"""Batches of a store of rows, in the order of an epoch."""

from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.seeds import generator
from vae_lightning.data.split import check_count, check_seed
from vae_lightning.data.store import RowStore
from vae_lightning.errors import DataError


class BatchLoader:
    """Cuts a store of rows into batches by indexing: no worker processes, no loop over rows.

    The order of an epoch depends on ``(seed, epoch)`` alone, so a resumed run sees the batches that an uninterrupted
    one would have seen. The epoch is 0 until `set_epoch` says otherwise; iterating does not advance it.

    With several processes, a shuffled loader gives each the same number of rows, starting the shuffled order again
    where they do not divide evenly, as processes that train together must take equally many steps. An unshuffled
    loader, which measures, gives each row to exactly one process, so the processes' shares may differ by one row.

    Args:
        rows: The store. Unshuffled batches of one in memory are views of it: do not write into them.
        batch_size: Rows in a batch; the last one of an epoch may be smaller, but a single left-over training row joins
            the batch before it.
        shuffle: Whether the order changes each epoch.
        seed: Of the order and of ``draw``.
        rank: Which of the processes this one is.
        world_size: How many processes share the rows.
        draw: Applied to the values of each batch, with a generator (on the rows' device) that depends on
            ``(seed, epoch, rank)``: re-sampling of grey levels into bits, for example.

    Raises:
        DataError: No rows, a batch size below 1, or a rank that does not exist.

    Example:
        >>> from vae_lightning.data.store import RowsInMemory
        >>> loader = BatchLoader(RowsInMemory(Batch(torch.arange(5.0)[:, None])), batch_size=2)
        >>> [batch.num_rows for batch in loader]
        [2, 2, 1]
    """

    def __init__(
        self,
        rows: RowStore,
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
        if rows.num_rows < 1:
            raise DataError("The 'rows' parameter of BatchLoader must hold at least one row. Got none instead.")
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
            return -(-self.rows.num_rows // self.world_size)
        start, stop = self._share()
        return stop - start

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order and draws the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.num_rows // self.batch_size) - self._joins_last_row()

    @property
    def width(self) -> int:
        """The rows of its largest batch."""
        return min(self.batch_size, self.num_rows) + self._joins_last_row()

    def _joins_last_row(self) -> bool:
        """Whether a shuffled epoch would end in a batch of one row, of which batch normalisation has no variance."""
        return self.shuffle and self.batch_size > 1 and self.num_rows % self.batch_size == 1 and self.num_rows > 1

    def __iter__(self) -> Iterator[Batch]:
        batches = self._shuffle() if self.shuffle else self._sequential()
        if self.draw is None:
            return batches
        return self._draw(batches, self.draw)

    def _share(self) -> tuple[int, int]:
        total = self.rows.num_rows
        return self.rank * total // self.world_size, (self.rank + 1) * total // self.world_size

    def _sequential(self) -> Iterator[Batch]:
        if self.world_size == 1:
            return self.rows.batches(self.batch_size)
        start, stop = self._share()
        index = torch.arange(start, stop, device=self.rows.device)
        return (self.rows.select(part) for part in index.split(self.batch_size))

    def _shuffle(self) -> Iterator[Batch]:
        # On the CPU whatever the rows' device, so that every device and every process has the same order.
        order = torch.randperm(self.rows.num_rows, generator=generator("cpu", self.seed, "order", self.epoch))
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
            yield self.rows.select(index)

    def _draw(self, batches: Iterator[Batch], draw: Callable[[Tensor, torch.Generator], Tensor]) -> Iterator[Batch]:
        draws = generator(self.rows.device, self.seed, "draw", self.epoch, self.rank)
        for batch in batches:
            yield batch._replace(x=draw(batch.x, draws))


class Block(tuple[Batch, ...]):
    """Batches that are handed over together."""


class BlockLoader:
    """Hands batches over a few at a time, as tuples.

    A training loop that does much around every batch does it once per block instead; the batches are the same.

    Args:
        batches: the loader of the single batches.
        size: batches in a block; the last block of an epoch may be smaller.

    Example:
        >>> from vae_lightning.data.store import RowsInMemory
        >>> rows = RowsInMemory(Batch(torch.arange(5.0)[:, None]))
        >>> blocks = BlockLoader(BatchLoader(rows, batch_size=1), size=2)
        >>> [len(block) for block in blocks], len(blocks)
        ([2, 2, 1], 3)
    """

    def __init__(self, batches: BatchLoader, size: int) -> None:
        check_count("BlockLoader", "size", size)
        self.batches = batches
        self.size = size

    def __len__(self) -> int:
        return -(-len(self.batches) // self.size)

    def set_epoch(self, epoch: int) -> None:
        """As of the single batches."""
        self.batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[Block]:
        batches = iter(self.batches)
        while block := Block(islice(batches, self.size)):
            yield block
