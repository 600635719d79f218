"""From a run directory to the trained model, whoever made the directory."""

import csv
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from vae_lightning.config.build import rebuild_model
from vae_lightning.data.columns import Column
from vae_lightning.data.seeds import random_stream
from vae_lightning.errors import RunError, UserError
from vae_lightning.export.card import CARD, WEIGHTS, read_module
from vae_lightning.files import write_whole
from vae_lightning.inference.model import VAEModel
from vae_lightning.inference.scoring import KINDS
from vae_lightning.version import __version__

CHECKPOINTS = ("best.ckpt", "last.ckpt")
VALID_SCORES = "valid_scores.csv"


def load(run_dir: str | Path) -> VAEModel:
    """The trained model of a run directory, ready to encode, reconstruct, sample and score.

    Reads the best checkpoint (the last one where no best exists), or what was exported as safetensors. Only tensors
    and plain values are read, and only classes of this package are built: loading a stranger's run runs none of their
    code.

    Raises:
        RunError: when the directory holds no checkpoint, or one that is damaged or of another program.
        ConfigError: when the checkpoint names a class that this package does not have, or safetensors is missing.
    """
    return load_recorded(run_dir).model


class Loaded(NamedTuple):
    """A trained model, and what its checkpoint says of it.

    Attributes:
        model: in evaluation mode.
        config: the configuration that it was trained with.
        epoch: the epoch after which it was saved, counted from 0; -1 where the checkpoint does not say.
    """

    model: VAEModel
    config: dict[str, Any]
    epoch: int


def load_recorded(run_dir: str | Path) -> Loaded:
    """As :func:`load`, with the record of the run."""
    directory = Path(run_dir)
    path = find_checkpoint(directory)
    if path is None:
        if (directory / CARD).is_file():
            return _load_exported(directory)
        raise RunError(f"{run_dir} holds no checkpoint: expected {directory / 'checkpoints' / CHECKPOINTS[0]}.")
    checkpoint = read_checkpoint(path)
    record = read_record(checkpoint, path)
    model = _rebuild(record, path)
    load_weights(model, checkpoint, path)
    model.valid_scores = _read_valid_scores(directory / VALID_SCORES)
    return Loaded(model.eval(), record["config"], int(checkpoint.get("epoch", -1)))


def _load_exported(directory: Path) -> Loaded:
    contents = read_module(directory)
    model = _rebuild(contents.record, directory / CARD)
    _fill(model, contents.weights, directory / WEIGHTS)
    model.valid_scores = contents.valid_scores
    return Loaded(model.eval(), contents.record["config"], -1)


def _rebuild(record: dict[str, Any], path: Path) -> VAEModel:
    """The untrained model that a record describes; ``path`` is where it was found."""
    _check_version(str(record["version"]), path)
    try:
        columns = [Column(str(name), str(np.dtype(dtype))) for name, dtype in record["columns"]]
        with random_stream(0):  # the weights are drawn only to be replaced: leave the caller's stream alone
            return rebuild_model(record["config"], columns)
    except UserError:
        raise
    except Exception as error:
        # What a stranger may have written there is beyond listing; none of it is worth a traceback.
        raise RunError(f"{path} does not say how its model is built: {error}.") from error


def _check_version(version: str, path: Path) -> None:
    made, ours = (tuple(map(int, re.findall(r"\d+", text)[:3])) for text in (version, __version__))
    if made > ours:
        raise RunError(
            f"{path} was made by vae_lightning {version}, which is newer than this one, {__version__}: "
            "pip install --upgrade vae-lightning."
        )


def write_valid_scores(model: VAEModel, run_dir: Path) -> None:
    """Keep the scores that ``model.calibrate`` found: one row for each validation row, one column for each kind."""
    lines = [",".join(KINDS), *(",".join(map(repr, row)) for row in zip(*_columns(model), strict=True))]
    write_whole(run_dir / VALID_SCORES, ("\n".join(lines) + "\n").encode())


def _columns(model: VAEModel) -> list[list[float]]:
    return [model.valid_scores[kind].tolist() for kind in KINDS]


def _read_valid_scores(path: Path) -> dict[str, np.ndarray]:
    """None where the run has not come to its end."""
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            text = file.read()
        rows = list(csv.DictReader(text.splitlines()))
        scores: dict[str, np.ndarray] = {kind: np.array([float(row[kind]) for row in rows]) for kind in KINDS}
        if not rows or not text.endswith("\n") or not all(np.isfinite(values).all() for values in scores.values()):
            raise ValueError("it is cut off, or holds what is no number")
        return scores
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path} cannot be read: it is damaged ({error}).") from error


def find_checkpoint(run_dir: Path) -> Path | None:
    """The best checkpoint of a run, else the last, else None."""
    paths = [run_dir / "checkpoints" / name for name in CHECKPOINTS]
    return next((path for path in paths if path.is_file()), None)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Tensors and plain values of a checkpoint.

    Raises:
        RunError: when the file is damaged, holds anything else, or is no checkpoint of this program.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Damage shows itself as any of a dozen errors, from zipfile's to the unpickler's refusal of foreign classes.
        raise RunError(f"{path} cannot be read: it is damaged, or holds more than tensors and plain values.") from error
    if not isinstance(checkpoint, dict) or not {"vae_lightning", "state_dict"} <= checkpoint.keys():
        raise RunError(f"{path} is no checkpoint of vae_lightning.")
    return checkpoint


def read_record(checkpoint: dict[str, Any], path: Path) -> dict[str, Any]:
    """What a checkpoint says of its own making: ``version``, ``config`` and ``columns``.

    Raises:
        RunError: when it says nothing that can be read.
    """
    try:
        record = json.loads(checkpoint["vae_lightning"])
        version, config, columns = str(record["version"]), dict(record["config"]), list(record["columns"])
        dict(config["data"]), int(config["seed"])
        if not re.match(r"\d", version):
            raise ValueError(version)
        return {"version": version, "config": config, "columns": columns}
    except (TypeError, ValueError, KeyError) as error:
        raise RunError(f"{path} does not say how its model is built: it is damaged.") from error


def load_weights(model: VAEModel, checkpoint: dict[str, Any], path: Path) -> None:
    """Put a checkpoint's weights and statistics into ``model``.

    Raises:
        RunError: when they do not fit.
    """
    prefix = "model."
    try:
        weights = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    except AttributeError as error:
        raise RunError(f"{path} does not fit the model it describes: {error}") from error
    _fill(model, weights, path)


def _fill(model: VAEModel, weights: dict[str, Any], path: Path) -> None:
    try:
        model.load_state_dict(weights)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise RunError(f"{path} does not fit the model it describes: {str(error).splitlines()[-1].strip()}") from error
