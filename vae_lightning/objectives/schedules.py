"""Weights over time, as pure functions of the progress of training."""

import math
from collections.abc import Callable


def none(progress: float) -> float:
    """1 throughout."""
    return 1.0


def linear(progress: float) -> float:
    """From 0 to 1 in a straight line while ``progress`` goes from 0 to 1, then 1 (Bowman et al. 2016).

    >>> [linear(t) for t in (0.0, 0.5, 1.0, 7.0)]
    [0.0, 0.5, 1.0, 1.0]
    """
    return min(1.0, max(0.0, progress))


def cosine(progress: float) -> float:
    """From 0 to 1 along half a cosine, flat at both ends, then 1: ``½ (1 - cos(π progress))``."""
    return 0.5 * (1.0 - math.cos(math.pi * linear(progress)))


def cyclical(progress: float) -> float:
    """A saw: in each unit of ``progress`` linear from 0 to 1 in the first half, 1 in the second (Fu et al. 2019).

    >>> [cyclical(t) for t in (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)]
    [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]
    """
    return linear(2.0 * (progress % 1.0))


SCHEDULES: dict[str, Callable[[float], float]] = {
    "none": none,
    "linear": linear,
    "cosine": cosine,
    "cyclical": cyclical,
}
