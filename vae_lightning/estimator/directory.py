"""A fitted estimator in a directory, of tensors and plain values only."""

import io
import json
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted

from vae_lightning.errors import ConfigError, RunError
from vae_lightning.files import parse_json, write_whole
from vae_lightning.inference.checkpoint import AGGREGATE, RECORD, WEIGHTS_PREFIX, aggregate_of, record_text
from vae_lightning.inference.model import VAEModel
from vae_lightning.reporting.figures.training import read_history
from vae_lightning.runs.loading import CHECKPOINTS, holds_model, load_recorded, write_valid_scores
from vae_lightning.training.module import MONITOR
from vae_lightning.version import __version__

PARAMETERS = "estimator.json"


class DirectoryMixin:
    """Saving and loading of an estimator."""

    model_: VAEModel
    history_: dict[str, list[float]]
    n_iter_: int
    best_nelbo_: float
    n_features_in_: int
    feature_names_in_: np.ndarray
    warnings_: list[str]

    def save(self, directory: str | Path) -> Path:
        """Write the fitted estimator; returns the directory, which :meth:`load` reads.

        It is a run directory: ``vae_lightning.load`` and the commands, such as ``vae-lightning score``, read it, too.
        The rows are not saved. An estimator that was saved there before is replaced.

        Raises:
            ConfigError: (a ``ValueError``) when the directory holds a run of ``train.py``, or ``random_state`` is no
                number.
            OSError: when it cannot be written.
        """
        check_is_fitted(self)
        directory = Path(directory)
        if holds_model(directory) and not (directory / PARAMETERS).is_file():
            raise ConfigError(f"{directory} holds a model that no estimator saved. Save this one to another directory.")
        try:
            about = json.dumps(self._about(), indent=2, default=_as_plain)
        except TypeError as error:
            raise ConfigError(f"Only parameters of plain values can be saved: {error}.") from error
        (directory / "checkpoints").mkdir(parents=True, exist_ok=True)
        history = pd.DataFrame({"epoch": range(len(self.history_[MONITOR])), **self.history_})
        write_whole(directory / "metrics.csv", history.to_csv(index=False).encode())
        write_valid_scores(self.model_, directory)
        write_whole(directory / "checkpoints" / CHECKPOINTS[0], self._checkpoint())
        write_whole(directory / PARAMETERS, about.encode())
        return directory

    @property
    def _best_epoch(self) -> int:
        """Of the weights that are kept, counted from 0; -1 for those before the first step."""
        nelbo = self.history_[MONITOR]
        return -1 if self.best_nelbo_ < min(nelbo) else int(np.argmin(nelbo))

    def _about(self) -> dict[str, Any]:
        return {
            "vae_lightning": __version__,
            "parameters": self.get_params(deep=False),  # type: ignore[attr-defined]
            "named": hasattr(self, "feature_names_in_"),
            "best_nelbo": self.best_nelbo_,
            "warnings": self.warnings_,
        }

    def _checkpoint(self) -> bytes:
        content = {
            RECORD: record_text(self.model_),
            "state_dict": {WEIGHTS_PREFIX + name: value for name, value in self.model_.state_dict().items()},
            "epoch": self._best_epoch,
            AGGREGATE: aggregate_of(self.model_),
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        return buffer.getvalue()

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """The fitted estimator that :meth:`save` wrote, with its parameters.

        Only tensors and plain values are read: loading a stranger's directory runs none of their code.

        Raises:
            RunError: when the directory holds no such estimator, or a file of it is damaged.
            ConfigError: (a ``ValueError``) for parameters that make no sense.
        """
        directory = Path(directory)
        about = _read_about(directory / PARAMETERS, cls._get_param_names())  # type: ignore[attr-defined]
        estimator = cls(**about.parameters)
        estimator._check_parameters()  # type: ignore[attr-defined]
        estimator.model_ = load_recorded(directory).model.double()
        estimator.history_ = _read_history(directory / "metrics.csv")
        estimator.n_iter_ = len(estimator.history_[MONITOR])
        names = [column.name for column in estimator.model_.table_columns]
        estimator.n_features_in_ = len(names)
        if about.named:
            estimator.feature_names_in_ = np.array(names, dtype=object)
        estimator.best_nelbo_, estimator.warnings_ = about.best_nelbo, about.warnings
        return estimator


def _as_plain(value: object) -> Any:
    """numpy's numbers and arrays as Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{value!r} is none")


class _About(NamedTuple):
    parameters: dict[str, Any]
    named: bool
    best_nelbo: float
    warnings: list[str]


def _read_about(path: Path, legal: list[str]) -> _About:
    if not path.is_file():
        raise RunError(f"{path.parent} holds no saved estimator: expected {path}. vae_lightning.load reads runs.")
    try:
        about = parse_json(path.read_bytes())
        parameters, warnings = dict(about["parameters"]), list(map(str, about["warnings"]))
        read = _About(parameters, about["named"] is True, float(about["best_nelbo"]), warnings)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read: it is damaged.") from error
    if unknown := [name for name in parameters if name not in legal]:
        raise RunError(f"{path} has a parameter {unknown[0]!r}, which this version does not know.")
    return read


def _read_history(path: Path) -> dict[str, list[float]]:
    try:
        history = {name: values.tolist() for name, values in read_history(path).items() if name != "epoch"}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read: it is damaged.") from error
    if not history.get(MONITOR):
        raise RunError(f"{path} holds no {MONITOR}: it is damaged.")
    return history
