"""From a run directory to the trained model, whoever made the directory."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_lightning.config.strangers import RECORDED
from vae_lightning.console import display_path
from vae_lightning.errors import RunError
from vae_lightning.export.card import CARD, WEIGHTS, read_module
from vae_lightning.files import write_whole
from vae_lightning.inference.checkpoint import (
    AGGREGATE,
    fill_model,
    load_weights,
    read_aggregate,
    read_checkpoint,
    read_record,
    rebuild_model,
)
from vae_lightning.inference.model import VAEModel
from vae_lightning.inference.scoring import SCORE_KINDS
from vae_lightning.runs.directory import LAST
from vae_lightning.shell import type_command, type_setting

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
        epoch: the epoch after which it was saved, counted from 0; -1 for the weights before the first step, and where
            the checkpoint does not say.
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
    model = rebuild_model(record, path)
    load_weights(model, checkpoint, path)
    model.aggregate_posterior = read_aggregate(checkpoint.get(AGGREGATE), model, path)
    model.valid_scores = _read_valid_scores(directory / VALID_SCORES)
    return Loaded(model.eval(), record["config"], epochs_of(checkpoint) - 1)


def _load_exported(directory: Path) -> Loaded:
    contents = read_module(directory)
    model = rebuild_model(contents.record, directory / CARD)
    fill_model(model, contents.weights, directory / WEIGHTS)
    model.valid_scores = contents.valid_scores
    model.aggregate_posterior = read_aggregate(contents.aggregate, model, directory / WEIGHTS)
    return Loaded(model.eval(), contents.record["config"], -1)


def write_valid_scores(model: VAEModel, run_dir: Path) -> None:
    """Keep the scores that ``model.calibrate`` found: one row for each validation row, one column for each kind."""
    lines = [",".join(SCORE_KINDS), *(",".join(map(repr, row)) for row in zip(*_columns(model), strict=True))]
    write_whole(run_dir / VALID_SCORES, ("\n".join(lines) + "\n").encode())


def _columns(model: VAEModel) -> list[list[float]]:
    return [model.valid_scores[kind].tolist() for kind in SCORE_KINDS]


def _read_valid_scores(path: Path) -> dict[str, np.ndarray]:
    """None where the run has not come to its end."""
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            text = file.read()
        rows = list(csv.DictReader(text.splitlines()))
        scores: dict[str, np.ndarray] = {kind: np.array([float(row[kind]) for row in rows]) for kind in SCORE_KINDS}
        if not rows or not text.endswith("\n") or not all(np.isfinite(values).all() for values in scores.values()):
            raise ValueError("it is cut off, or holds what is no number")
        return scores
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path} cannot be read: it is damaged ({error}).") from error


def resume_advice(run_dir: Path) -> str:
    """A sentence that says how to go on with an unfinished run, or that it has to begin anew."""
    if not (run_dir / RECORDED).is_file() and not (run_dir / LAST).is_file():
        return "Training had not begun: the same command begins anew."
    return f"python train.py {type_setting('resume', display_path(run_dir))} goes on after the last finished epoch."


def epochs_of(checkpoint: Mapping[str, Any]) -> int:
    """Epochs after which a checkpoint was saved; 0 before the first step and where it does not say."""
    return int(checkpoint.get("epoch", -1)) + 1 if checkpoint.get("global_step", 1) else 0


def report_advice(run_dir: Path) -> str:
    """A sentence that says how to see what an unfinished run has learned; nothing where there is nothing to see."""
    if not holds_model(run_dir):
        return ""
    return f"{type_command('vae-lightning', 'report', run_dir)} shows what was learned so far."


def describe_epoch(epoch: int) -> str:
    """Which weights those of :attr:`Loaded.epoch` are.

    >>> describe_epoch(0), describe_epoch(-1)
    ('of epoch 1', 'before the first step')
    """
    return "before the first step" if epoch < 0 else f"of epoch {epoch + 1}"


def holds_model(directory: Path) -> bool:
    """Whether :func:`load` finds a model there."""
    return find_checkpoint(directory) is not None or (directory / CARD).is_file()


def find_checkpoint(run_dir: Path) -> Path | None:
    """The best checkpoint of a run, else the last, else None."""
    paths = [run_dir / "checkpoints" / name for name in CHECKPOINTS]
    return next((path for path in paths if path.is_file()), None)
