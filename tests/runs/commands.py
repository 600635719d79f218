"""Training commands in this process: of a tiny model, and such as are refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vae_lightning.cli import main as cli

WORDS = ["data.batch_size=256", "model.hidden_dims=[8]", "model.latent_dim=2", "test.num_samples=2", "report=false"]
WORDS += ["callbacks.figures=null", "trainer.accelerator=cpu"]


def train_once(made_once: Callable[..., Path], name: str, *words: str) -> Path:
    """A run as the command line leaves it, to copy; ``name`` is its own among all tests."""

    def make(folder: Path) -> None:
        cli.train([*WORDS, *words, f"hydra.run.dir={folder / 'run'}"])

    return made_once(name, make) / "run"


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line with which ``train.py`` refuses these words."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        cli.train([*words])
    assert exit_.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1, error
    return error
