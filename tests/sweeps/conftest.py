"""A sweep in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.sweeps.sweeping import words
from vae_lightning import cli


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``sweep(*overrides)``: in this process, in an empty directory; returns the exit status."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()

    def run(*overrides: str) -> int:
        try:
            cli.train(words(*overrides))
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            torch.set_flush_denormal(False)
            torch.set_num_threads(threads)
        return 0

    return run
