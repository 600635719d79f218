"""How many threads a fit takes: a small model's threads only wait for one another."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

WORTH_A_THREAD = 5e7
"""Multiply-adds a step (rows times parameters) below which one thread is as fast as several, and on a busy machine,
where a thread may be kept waiting in every layer, up to ten times faster."""


@contextmanager
def limit_threads(model: nn.Module, batch_size: int) -> Iterator[None]:
    """One thread where the steps are small; torch's number otherwise, and again afterwards.

    Args:
        model: what is trained.
        batch_size: rows a step.
    """
    threads = torch.get_num_threads()
    if batch_size * sum(p.numel() for p in model.parameters()) < WORTH_A_THREAD:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
