"""Optuna's study, sampler, pruner and storage, as the sweeper's settings name them."""

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna import pruners, samplers
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from vae_lightning.config.instantiate import call, check_keys, legal_keys
from vae_lightning.data.seeds import stream_seed
from vae_lightning.errors import ConfigError, RunError, check_parameter, suggest
from vae_lightning.sweeps.space import Axis

SAMPLERS = {
    "tpe": samplers.TPESampler,
    "gp": samplers.GPSampler,
    "cmaes": samplers.CmaEsSampler,
    "nsgaii": samplers.NSGAIISampler,
    "grid": samplers.GridSampler,
    "random": samplers.RandomSampler,
    "qmc": samplers.QMCSampler,
}
PRUNERS = {"none": pruners.NopPruner, "median": pruners.MedianPruner, "hyperband": pruners.HyperbandPruner}
Direction = Literal["minimize", "maximize"]
_memory: dict[str, InMemoryStorage] = {}  # studies that live as long as this process


def storage_of(words: str, sweep_dir: Path) -> str:
    """Where a study is kept, in full: "memory", a journal file's path, or a URL of a data base.

    Args:
        words: "journal" and "sqlite" stand for files in the sweep's directory; "memory"; a path that ends in .journal;
            or a URL such as postgresql+psycopg://user@host/name.

    Raises:
        ConfigError: for anything else.
    """
    if words == "journal":
        return str(sweep_dir / "study.journal")
    if words == "sqlite":
        return f"sqlite:///{sweep_dir / 'study.db'}"
    legal = words == "memory" or words.endswith(".journal") or "://" in words
    must = "journal, sqlite, memory, a path ending in .journal or a URL"
    check_parameter("hydra.sweeper", "storage", legal, must, words)
    return str(Path(words).absolute()) if words.endswith(".journal") and "://" not in words else words


def open_study(storage: str, name: str, directions: list[Direction] | None = None, pruner: Any = None) -> optuna.Study:
    """The study of that name, created where there is none and ``directions`` are given.

    Args:
        storage: as :func:`storage_of` writes it.
        name: the study's name within it.
        directions: "minimize" or "maximize" for each metric; None: the study must be there.
        pruner: what decides whether a trial is given up.

    Raises:
        RunError: when the storage cannot be opened, or holds a study with other directions.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it would say, the sweep says
    try:
        backend = _backend(storage)
        if directions is None:
            return optuna.load_study(study_name=name, storage=backend, pruner=pruner)
        study = optuna.create_study(
            storage=backend, study_name=name, directions=list(directions), load_if_exists=True, pruner=pruner
        )
    except Exception as error:  # every driver has errors of its own
        is_driver = isinstance(error, ImportError) or type(error).__name__ == "NoSuchModuleError"
        hint = _driver_hint(storage) if is_driver else str(error).partition("\n")[0]
        raise RunError(f"The study {name} in {_show(storage)} cannot be opened: {hint}") from error
    found = [direction.name.lower() for direction in study.directions]
    if found != directions:
        raise RunError(f"The study {name} in {_show(storage)} has the directions {found}. Got {directions} instead.")
    return study


def mend(storage: str) -> None:
    """Cut a journal back to its last whole line.

    A power cut or a full disk leaves half a line; Optuna would write the next one behind it, and read neither.
    """
    path = Path(storage)
    if "://" in storage or not path.is_file():
        return
    lock = JournalFileSymlinkLock(storage)
    lock.acquire()
    try:
        with path.open("rb+") as file:
            whole = file.read().rpartition(b"\n")
            if whole[2]:
                file.truncate(len(whole[0]) + len(whole[1]))
    finally:
        lock.release()


def _backend(storage: str) -> BaseStorage:
    if storage == "memory":
        return _memory.setdefault(storage, InMemoryStorage())
    if "://" not in storage:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(storage))
    # Several processes write to one file: wait for one another, where SQLite would give up after five seconds.
    waits = {"connect_args": {"timeout": 120}} if storage.startswith("sqlite") else {"pool_pre_ping": True}
    return RDBStorage(storage, engine_kwargs=waits)


def _show(storage: str) -> str:
    """Without a password."""
    scheme, separator, rest = storage.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator else storage


def _driver_hint(storage: str) -> str:
    if storage.startswith("postgresql"):
        return "it needs a driver: pip install 'vae-lightning[postgresql]' and begin the URL with postgresql+psycopg://"
    return "its driver is not installed."


def sampler_of(
    name: str, options: Mapping[str, Any], seed: int, number: int, space: Mapping[str, Axis]
) -> samplers.BaseSampler:
    """The sampler of one trial.

    Each trial has one of its own, its seed made of the search's and the trial's number: what a trial draws depends
    neither on how often the search was interrupted nor on how many processes share it. (One sampler with one seed would
    repeat its draws after every restart and in every process.)

    Raises:
        ConfigError: for a name or an option that does not exist.
    """
    if name not in SAMPLERS:
        raise ConfigError(f"There is no hydra.sweeper.sampler={name}. {suggest(name, SAMPLERS)}")
    if name == "cmaes" and importlib.util.find_spec("cmaes") is None:
        raise ConfigError("hydra.sweeper.sampler=cmaes needs the package cmaes: pip install cmaes")
    kind, own = SAMPLERS[name], stream_seed(seed, "trial", number) % 2**32
    given: dict[str, Any] = {"seed": own}
    if name == "grid":
        given = {"seed": seed, "search_space": {key: axis.grid() for key, axis in space.items()}}
    elif name == "qmc":  # one sequence for the whole search; only what no sequence covers is drawn by trial
        given = {"seed": seed, "independent_sampler": samplers.RandomSampler(seed=own)}
    elif name == "tpe":
        given["constant_liar"] = True  # so that trials of one batch keep apart
    if name in ("gp", "cmaes", "qmc"):
        given["warn_independent_sampling"] = False  # no user can act on it
    check_keys(options, legal_keys(kind, given), "hydra.sweeper.sampler_options")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna's word for some samplers, at every trial
        return call(kind, f"hydra.sweeper.sampler={name}", **given, **options)


def pruner_of(name: str, options: Mapping[str, Any]) -> pruners.BasePruner:
    """The pruner of that name.

    Raises:
        ConfigError: for a name or an option that does not exist.
    """
    if name not in PRUNERS:
        raise ConfigError(f"There is no hydra.sweeper.pruner={name}. {suggest(name, PRUNERS)}")
    check_keys(options, legal_keys(PRUNERS[name]), "hydra.sweeper.pruner_options")
    return call(PRUNERS[name], f"hydra.sweeper.pruner={name}", **options)
