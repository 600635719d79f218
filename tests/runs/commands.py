"""Training commands in this process: of a tiny model, and such as are refused."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from vae_lightning import load
from vae_lightning.cli import main as cli
from vae_lightning.inference.model import VAEModel

WORDS = ["data.batch_size=256", "model.hidden_dims=[8]", "model.latent_dim=2", "test.num_samples=2", "report=false"]
WORDS += ["callbacks.figures=null", "trainer.accelerator=cpu"]


@dataclass(frozen=True)
class RunOfFolder:
    """A trained run, and the folder that its table and what commands write lie in."""

    run: Any
    folder: Path

    @property
    def model(self) -> VAEModel:
        return load(self.run.run_dir)

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(cli.main, [words[0], str(self.run.run_dir), *words[1:]])

    def path(self, name: str) -> str:
        return str(self.folder / name)


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
