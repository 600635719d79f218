"""Subjects to draw: trained models of tables, bits and images, with the rows they did not see."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from tests.conftest import Run
from vae_lightning.config.record import recorded_dataset
from vae_lightning.config.settings import Settings
from vae_lightning.reporting.figures.subject import Subject
from vae_lightning.reporting.figures.training import read_history
from vae_lightning.runs.loading import load_recorded
from vae_lightning.runs.run import run
from vae_lightning.training.datamodule import VectorDataModule

Train = Callable[..., Run]


def subject_of(run: Run) -> Subject:
    model, record, _ = load_recorded(run.run_dir)
    dataset = recorded_dataset(record, [column.name for column in model.columns])
    valid, train = (next(VectorDataModule(dataset, model.scaling).rows[name].batches()) for name in ("valid", "train"))
    history = read_history(run.run_dir / "metrics.csv")
    return Subject(model, valid, train, dataset.valid.labels, dataset.image_shape, 0, history)


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


@pytest.fixture(scope="session")
def table(gaussian_run: Run) -> Subject:
    """Four columns, two latent dimensions."""
    return subject_of(gaussian_run)


@pytest.fixture(scope="session")
def bits(bernoulli_run: Run) -> Subject:
    """Sixteen bits."""
    return subject_of(bernoulli_run)


@pytest.fixture(scope="session")
def mixed(mixed_run: Run) -> Subject:
    """Six columns of several kinds, two of them with holes."""
    return subject_of(mixed_run)


@pytest.fixture(scope="session")
def digits_run(compose_config: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Images, a five-dimensional code, all loggers, figures every second epoch. Read only."""
    run_dir: Path = tmp_path_factory.mktemp("runs") / "digits"
    config = compose_config(
        run_dir,
        "data=digits",
        "likelihood=bernoulli",
        "model.latent_dim=5",
        "model.hidden_dims=[64]",
        "trainer.max_epochs=5",
        "logger=both",
        "report=",
        "callbacks.figures=",
        "callbacks.figures.every_n_epochs=2",
        "callbacks.figures.share=1",
    )
    return Run(run_dir, config, run(Settings.parse(config), [], {"data": "digits", "likelihood": "bernoulli"}))


@pytest.fixture(scope="session")
def digits(digits_run: Run) -> Subject:
    """1,797 small images in five latent dimensions."""
    return subject_of(digits_run)


@pytest.fixture(scope="session")
def plane(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The same in two."""
    words = ["data=digits", "likelihood=bernoulli", "trainer.max_epochs=1"]
    return subject_of(train(tmp_path_factory.mktemp("runs") / "plane", *words))
