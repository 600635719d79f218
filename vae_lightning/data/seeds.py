"""Random numbers that repeat: streams of their own, and draws that are the same for every row."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.quasirandom import SobolEngine


@contextmanager
def random_stream(seed: int | None) -> Iterator[None]:
    """Draws inside repeat for the same ``seed`` and leave the global stream untouched; None changes nothing."""
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def part_seed(seed: int, part: int) -> int:
    """The seed of one part of what ``seed`` stands for; parts and seeds have nothing in common."""
    return int(np.random.SeedSequence([seed, part]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def even_normals(num_draws: int, num_dims: int, seed: int = 0) -> Tensor:
    """Standard normal draws that fill the space evenly: scrambled Sobol points through the normal quantile.

    Their mean of a smooth function lies much closer to the expectation than that of as many random draws; scrambling
    makes each of them a normal draw, so the mean is unbiased (Owen 1997).

    Returns:
        Shape ``(num_draws, num_dims)``, float64.
    """
    points = SobolEngine(num_dims, scramble=True, seed=seed).draw(num_draws, dtype=torch.float64)
    return torch.special.ndtri(points.clamp(1e-10, 1 - 1e-10))
