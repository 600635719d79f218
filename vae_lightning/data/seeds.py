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


def begin_stream(seed: int) -> None:
    """Seed torch's global stream, as ``torch.manual_seed`` does.

    Where there is no accelerator, torch would format a traceback for each kind that might yet turn up, and keep it:
    two milliseconds, as much as a small model's validation.
    """
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@contextmanager
def random_stream(seed: int | None) -> Iterator[None]:
    """Draws inside repeat for the same ``seed`` and leave the global stream untouched; None changes nothing."""
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            begin_stream(seed)
        yield
