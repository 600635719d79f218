"""Random streams: one derivation of seeds for everything that draws."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def stream_seed(seed: int, *purpose: int | str) -> int:
    """The seed of one purpose of a run, such as ``stream_seed(seed, "order", epoch)``; 63 bits.

    Purposes and seeds have nothing in common: (seed, epoch + 1) is unrelated to (seed + 1, epoch), and no purpose is
    the beginning of another.
    """
    words = (int(seed), *(part if isinstance(part, str) else int(part) for part in purpose))
    return int.from_bytes(hashlib.sha256(repr(words).encode()).digest()[:8]) >> 1


def generator(device: torch.device | str, seed: int, *purpose: int | str) -> torch.Generator:
    """A generator on ``device`` for one purpose of a run."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, *purpose))


def seed_global_stream(seed: int) -> None:
    """``torch.manual_seed``; without an accelerator that would keep a stack trace of each call for the day of one."""
    (torch.manual_seed if torch.accelerator.is_available() else torch.default_generator.manual_seed)(seed)


@contextmanager
def random_stream(seed: int | None) -> Iterator[None]:
    """Draws inside repeat for the same ``seed`` and leave the global stream untouched; None changes nothing."""
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            seed_global_stream(seed)
        yield
