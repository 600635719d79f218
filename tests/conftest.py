"""What every test may ask for."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

SHARED_DATA = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def shared_data() -> Callable[[str], dict[str, np.ndarray]]:
    """Read one archive of data sets that lie beside the checkout; skip where it is absent."""

    def read(name: str) -> dict[str, np.ndarray]:
        path = SHARED_DATA / name
        if not path.exists():
            pytest.skip(f"needs {name}, which is not in {SHARED_DATA}")
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)

    return read


@pytest.fixture
def fast_cpu() -> Iterator[None]:
    """One thread and no subnormal numbers while a test trains: small networks run several times faster so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(threads)
