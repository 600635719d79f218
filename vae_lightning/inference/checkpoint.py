"""What a checkpoint says of its model: names, plain values and tensors, never code."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lightning.data.columns import Column
from vae_lightning.data.conditions import Conditions
from vae_lightning.data.dates import read_part
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.seeds import random_stream
from vae_lightning.data.wording import shorten
from vae_lightning.errors import RunError, UserError, is_count
from vae_lightning.files import parse_json, write_whole
from vae_lightning.inference.aggregate import AggregatePosterior
from vae_lightning.inference.model import VAEModel
from vae_lightning.model.parts import build_part, build_vae
from vae_lightning.version import __version__

RECORD = "vae_lightning"
"""The key of a checkpoint under which the record stands."""
WEIGHTS_PREFIX = "model."
AGGREGATE = "aggregate_posterior"
"""The key under which the density that new rows are drawn from stands, where the run has come to its end."""
GROUPS = (
    "data",
    "model",
    "likelihood",
    "posterior",
    "prior",
    "objective",
    "preprocess",
    "optimizer",
    "scheduler",
    "condition",
)
"""Parts of a record's ``config`` that have names and options of their own."""


class MisfitError(RunError):
    """Weights of another shape than the model's."""


def record_of(model: VAEModel) -> dict[str, Any]:
    """What :func:`rebuild_model` makes the same model from again: ``version``, ``config`` and ``columns``."""
    columns = [column.as_plain() for column in model.columns]
    return {"version": __version__, "config": model.record, "columns": columns}


def record_text(model: VAEModel) -> str:
    """The record as one string: a thousand columns as lists of lists would be most of what an epoch has to write."""
    return json.dumps(record_of(model))


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
    if not isinstance(checkpoint, dict) or not {RECORD, "state_dict"} <= checkpoint.keys():
        raise RunError(f"{path} is no checkpoint of vae_lightning.")
    if not all(isinstance(checkpoint.get(name, 0), int) for name in ("epoch", "global_step")):
        raise RunError(f"{path} does not say of which epoch it is: it is damaged.")
    return checkpoint


def read_record(checkpoint: dict[str, Any], path: Path) -> dict[str, Any]:
    """What a checkpoint says of its own making: ``version``, ``config`` and ``columns``.

    Raises:
        RunError: when it says nothing that can be read.
    """
    try:
        record = parse_json(checkpoint[RECORD])
    except (TypeError, ValueError) as error:
        raise RunError(f"{path} does not say how its model is built: it is damaged.") from error
    return check_record(record, path)


def check_record(record: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """``version``, ``config`` and ``columns`` of a record, in the shape in which they are written.

    What is read once here need not be doubted where it is used. Values are held against their families' constructors
    as the model is built.

    Raises:
        RunError: when they have another shape.
    """
    version, config, columns = record.get("version"), record.get("config"), record.get("columns")
    is_ours = isinstance(version, str) and re.match(r"\d", version)
    if not is_ours or not isinstance(columns, list) or not isinstance(config, dict) or not _is_shaped(config):
        raise RunError(f"{path} does not say how its model is built: it is damaged.")
    return {"version": version, "config": config, "columns": columns}


def _is_shaped(config: Mapping[str, Any]) -> bool:
    """Whether every part of a configuration has the type that it is written with; a part may be missing."""
    data = config.get("data", {})
    return (
        all(isinstance(config.get(group, {}), dict) for group in GROUPS)
        and is_count(config.get("seed", 0), 0)
        and config.get("seed", 0) < 2**63
        and isinstance(data.get("source", {}), dict | None)
        and all(isinstance(data.get(name, ""), str) for name in ("name", "fingerprint"))
    )


def rebuild_model(record: Mapping[str, Any], path: Path) -> VAEModel:
    """The untrained model that a record describes; ``path`` is where it was found.

    Only families of this package are built, by name: a stranger's checkpoint runs none of their code.

    Raises:
        RunError: when it was made by a newer version, or does not describe a model.
        ConfigError: when it names what this package does not have.
    """
    _check_version(str(record["version"]), path)
    try:
        columns = [_read_column(*column) for column in record["columns"]]
        with random_stream(0):  # the weights are drawn only to be replaced: leave the caller's stream alone
            return build_model(record["config"], columns)
    except UserError:
        raise
    except Exception as error:
        # What a stranger may have written there is beyond listing; none of it is worth a traceback.
        raise RunError(f"{path} does not say how its model is built: {error}.") from error


def _read_column(
    name: str, dtype: str, levels: Sequence[str] | None = None, part: Sequence[Any] | None = None
) -> Column:
    kept = None if levels is None else tuple(map(str, levels))
    return Column(str(name), str(np.dtype(dtype)), kept, None if part is None else read_part(*part))


def build_model(config: Mapping[str, Any], columns: Sequence[Column]) -> VAEModel:
    """An untrained model of a record's ``config``; its state dict makes it the trained one."""
    scaling = build_part(Scaling, config["preprocess"], "data.preprocess", num_columns=len(columns))  # type: ignore[type-abstract]
    conditions = _build_conditions(**config["condition"]) if config.get("condition") else None
    return VAEModel(build_vae(config, len(columns)), scaling, columns, config, conditions)


def _build_conditions(columns: Sequence[Sequence[Any]], **options: Any) -> Conditions:
    return Conditions([_read_column(*column) for column in columns], **options)


def _check_version(version: str, path: Path) -> None:
    made, ours = (tuple(map(int, re.findall(r"\d+", text)[:3])) for text in (version, __version__))
    if made > ours:
        raise RunError(
            f"{path} was made by vae_lightning {version}, which is newer than this one, {__version__}: "
            "pip install --upgrade vae-lightning."
        )


def load_weights(model: VAEModel, checkpoint: dict[str, Any], path: Path) -> None:
    """Put a checkpoint's weights and statistics into ``model``.

    Raises:
        RunError: as :func:`fill_model`.
    """
    try:
        state = checkpoint["state_dict"].items()
        weights = {k.removeprefix(WEIGHTS_PREFIX): v for k, v in state if k.startswith(WEIGHTS_PREFIX)}
    except AttributeError as error:
        raise RunError(f"{path} does not fit the model it describes: {error}") from error
    fill_model(model, weights, path)


def fill_model(model: VAEModel, weights: dict[str, Any], path: Path) -> None:
    """Put weights and statistics by name into ``model``.

    Raises:
        RunError: when they do not fit, or are no numbers.
    """
    # torch would drop what is imaginary in them.
    unreal = [name for name, value in weights.items() if isinstance(value, Tensor) and value.is_complex()]
    if unreal:
        raise RunError(f"{path} holds complex numbers in {shorten(unreal)}: it is damaged.")
    try:
        model.load_state_dict(weights)
    except (RuntimeError, AttributeError, TypeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        raise MisfitError(f"{path} does not fit the model it describes: {why}") from error
    bad = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if bad:
        raise RunError(f"{path} holds NaN or infinity in {shorten(bad)}: training had diverged, or it is damaged.")


def read_aggregate(found: Any, model: VAEModel, path: Path) -> AggregatePosterior | None:
    """What stands under :data:`AGGREGATE`; None where nothing does.

    Raises:
        RunError: when it is no density of the model's codes.
    """
    if found is None:
        return None
    try:
        return AggregatePosterior.from_tensors(found, model.vae.latent_dim)
    except ValueError as error:
        raise RunError(f"{path} cannot be read: its density of the codes is damaged, {error}.") from error


def aggregate_of(model: VAEModel) -> dict[str, Tensor] | None:
    """What stands under :data:`AGGREGATE`."""
    return None if model.aggregate_posterior is None else model.aggregate_posterior.as_tensors()


def add_aggregate(model: VAEModel, path: Path) -> None:
    """Write the model's density of the codes into the checkpoint of its weights.

    Raises:
        RunError: when the checkpoint cannot be read.
        OSError: when it cannot be written.
    """
    checkpoint = read_checkpoint(path)
    checkpoint[AGGREGATE] = aggregate_of(model)
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_whole(path, buffer.getvalue())
