"""What every test may ask for."""

import functools
import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# One core a worker, and for the processes that it starts: threads that wait for one another on a busy machine make
# small tensors several times slower. Before torch, which reads it once.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from vae_lightning.config.settings import Settings


class _NoFigureFails(logging.Handler):
    """In a run a figure that fails is a warning; here it is a bug."""

    def emit(self, record: logging.LogRecord) -> None:
        if "could not be drawn" in record.getMessage():
            raise AssertionError(record.getMessage())


@pytest.fixture(scope="session", autouse=True)
def _no_figure_fails() -> Iterator[logging.Handler]:
    handler, log = _NoFigureFails(), logging.getLogger("vae_lightning")
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


WHOLE_PROGRAM = ("test_readme.py", "test_browser.py", "test_wheel.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first, so that none is begun when all others are done.

    They are left out of the coverage: every line has tests of its own, and counting lines makes the frameworks' Python
    half as slow again.
    """
    items.sort(key=lambda item: item.path.name not in WHOLE_PROGRAM)
    for item in items:
        if item.path.name in WHOLE_PROGRAM:
            item.add_marker("no_cover")


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """``made_once(name, make)``: a folder that the first worker to ask fills with ``make(folder)``. Read only."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        path = shared / name
        with FileLock(f"{path}.lock"):
            if not path.exists():
                partial = shared / f"{name}.partial"
                partial.mkdir(exist_ok=True)
                make(partial)
                partial.rename(path)
        return path

    return folder


SHARED_DATA = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _log_is_on() -> None:
    """Hydra's set-up of logging, which a test before this one may have called, disables every logger that it finds."""
    logging.getLogger("vae_lightning").disabled = False


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
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from a second thread and lose much where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def flush_denormal() -> Iterator[None]:
    """No subnormal numbers while a test trains: collapsed latents make them, and they are slow."""
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


CONF = Path(__file__).parents[1] / "conf"
SMALL = {
    "data": "synthetic",
    "likelihood": "gaussian",
    "trainer": "cpu",
    "logger": "csv",
    "data.batch_size": "32",
    "model.latent_dim": "2",
    "model.hidden_dims": "[8]",
    "optimizer.lr": "0.01",
    "trainer.max_epochs": "2",
    "test.num_samples": "10",
    "callbacks.figures": "null",  # these and the report take longer than such a run
    "report": "false",
}
SMALL_SOURCES = {
    "synthetic": {"data.num_rows": "200", "data.num_columns": "4", "data.latent_dim": "2", "data.seed": "2"},
    "correlated_bits": {
        "data.num_columns": "16",
        "data.num_train": "256",
        "data.num_valid": "32",
        "data.num_test": "32",
    },
}


@functools.cache
def _composed(groups: tuple[str, ...]) -> DictConfig:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(groups))


@pytest.fixture(scope="session")
def compose_config() -> Callable[..., dict[str, Any]]:
    """``compose_config(run_dir, *overrides)``: plain values, as the command line hands them to ``run``; a tiny run.

    An override with nothing behind its ``=`` takes back what makes the run tiny.
    """

    def composed(run_dir: Path, *overrides: str) -> dict[str, Any]:
        typed = dict(override.partition("=")[::2] for override in overrides)
        # Other callbacks than the usual ones have no early stopping to set.
        small = {key: value for key, value in SMALL.items() if "callbacks" not in typed or "early_stopping" not in key}
        settings = {**small, **SMALL_SOURCES.get(typed.get("data", SMALL["data"]), {}), **typed}
        given = [f"{key}={value}" for key, value in settings.items() if value]
        groups = [word for word in given if (CONF / word.partition("=")[0]).is_dir()]
        rest = OmegaConf.from_dotlist([word for word in given if word not in groups])
        config = _composed(tuple(groups)).copy()
        OmegaConf.set_struct(config, False)
        config.merge_with({"run_dir": str(run_dir)}, rest)
        plain: Any = OmegaConf.to_container(config, resolve=True)
        return plain

    return composed


@dataclass(frozen=True)
class Run:
    """A finished run: what it returned, and what it wrote."""

    run_dir: Path
    config: dict[str, Any]
    value: float

    @property
    def settings(self) -> "Settings":
        """The configuration, checked and completed."""
        from vae_lightning.config.settings import Settings

        return Settings.parse(self.config)

    @property
    def summary(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.run_dir / "summary.json").read_text())
        return content

    @property
    def metrics(self) -> pd.DataFrame:
        return pd.read_csv(self.run_dir / "metrics.csv")

    def checkpoint(self, name: str = "last") -> dict[str, Any]:
        content: dict[str, Any] = torch.load(self.run_dir / "checkpoints" / f"{name}.ckpt", weights_only=True)
        return content

    @property
    def record(self) -> dict[str, Any]:
        """What the best checkpoint says of how its model is built."""
        content: dict[str, Any] = json.loads(self.checkpoint("best")["vae_lightning"])
        return content

    def weights(self, name: str = "last") -> dict[str, torch.Tensor]:
        weights: dict[str, torch.Tensor] = self.checkpoint(name)["state_dict"]
        return weights


@pytest.fixture(scope="session")
def train(compose_config: Callable[..., dict[str, Any]]) -> Callable[..., Run]:
    """``train(run_dir, *overrides, **callbacks)``: compose and run in this process; ``callbacks`` are nodes to add."""

    def trained(run_dir: Path, *overrides: str, **callbacks: Any) -> Run:
        from vae_lightning.config.settings import Settings
        from vae_lightning.runs.run import run

        config = compose_config(run_dir, *overrides)
        config["callbacks"] = {**config["callbacks"], **callbacks}
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return Run(run_dir, config, run(Settings.parse(config), overrides))
        finally:
            torch.set_flush_denormal(False)
            torch.set_num_threads(threads)

    return trained


@pytest.fixture(scope="session")
def gaussian_run(train: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A model that has learned something: 4 correlated columns, Gaussian. Read only."""
    run_dir = tmp_path_factory.mktemp("runs") / "gaussian"
    whole = "callbacks.early_stopping.patience=20"
    return train(run_dir, "data.num_rows=600", "trainer.max_epochs=20", "optimizer.lr=0.03", "seed=0", whole)


@pytest.fixture(scope="session")
def bernoulli_run(train: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A model of 16 correlated bits, with a seed that uses z: of so short a run one in twenty does not. Read only."""
    run_dir = tmp_path_factory.mktemp("runs") / "bernoulli"
    words = ["data=correlated_bits", "likelihood=bernoulli", "trainer.max_epochs=20", "optimizer.lr=0.03", "seed=3"]
    return train(run_dir, *words)


@pytest.fixture(scope="session")
def mixed_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of numbers, texts of three and of twenty levels, dates and truth values, with holes. Read only."""
    rng, size = np.random.default_rng(0), 800
    kind = rng.integers(0, 3, size)
    frame = pd.DataFrame(
        {
            "height": rng.normal(150 + 15 * kind, 6).round(3),
            "city": np.array(["Oslo", "Rome", "Lima"])[kind],
            "shop": [f"shop {i:02d}" for i in rng.geometric(0.2, size).clip(max=20)],
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 500, size), unit="D"),
            "member": rng.random(size) < 0.3,
            "rooms": rng.choice([3, 4, 5, 7], size),
        }
    )
    frame.loc[:39, "height"] = np.nan
    frame.loc[30:79, "city"] = None
    path = tmp_path_factory.mktemp("tables") / "homes.csv"
    frame.sample(frac=1, random_state=0).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def mixed_run(train: Callable[..., Run], mixed_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A model of ``mixed_table``, a family for each column. Read only."""
    run_dir = tmp_path_factory.mktemp("runs") / "mixed"
    words = ["data=table", f"data.path={mixed_table}", "likelihood=auto", "trainer.max_epochs=3", "report="]
    return train(run_dir, *words)
