"""What an exported model says of itself, and a module in two files that hold nothing to execute."""

import importlib.metadata
import json
import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae_lightning.data.columns import Column
from vae_lightning.errors import ConfigError, RunError
from vae_lightning.export.graphs import Graph
from vae_lightning.files import parse_json, write_whole
from vae_lightning.inference.checkpoint import check_record
from vae_lightning.inference.model import VAEModel
from vae_lightning.inference.scoring import NUM_SAMPLES, SCORE_KINDS, ScoreKind
from vae_lightning.version import __version__

CARD = "model.json"
WEIGHTS = "model.safetensors"
PACKAGES = {"onnx": ("onnx", "onnxruntime", "onnxscript"), "safetensors": ("safetensors",), "torch": ("torch",)}
"""What each format needs, by its name."""
QUANTILES = (0.9, 0.95, 0.99, 0.999)
SCORES = "valid_scores."
"""How the validation scores are called among the tensors."""
AGGREGATE_PARTS = "aggregate_posterior."
"""How the parts of the density of the codes are called among them."""


class Contents(NamedTuple):
    """A module as the safetensors format holds it.

    Attributes:
        record: ``version``, ``config`` and ``columns``, as in a checkpoint.
        weights: the state dict.
        valid_scores: scores of the validation rows by kind; empty where there were none.
        aggregate: the parts of the density of the codes; None where there is none.
    """

    record: dict[str, Any]
    weights: dict[str, Tensor]
    valid_scores: dict[str, np.ndarray]
    aggregate: dict[str, Tensor] | None


def card(model: VAEModel, kind: ScoreKind, written: str, graphs: Iterable[Graph]) -> dict[str, Any]:
    """What a reader of the files has to know; plain values.

    Args:
        model: what is exported.
        kind: of the score.
        written: the format.
        graphs: those that are written beside it.
    """
    packages = {name: importlib.metadata.version(name) for name in sorted({"torch", *PACKAGES[written]})}
    return {
        "vae_lightning": __version__,
        "format": written,
        "columns": [_describe(column) for column in model.columns],
        "likelihood": model.vae.likelihood.words,
        "posterior": model.vae.posterior.name(),
        "prior": model.vae.prior.name(),
        "preprocess": model.scaling.words,
        "latent_dim": model.vae.latent_dim,
        "units": "rows in data units, scores in nats per row",
        "reference_measure": str(model.reference_measure),
        "score": {
            "kind": kind,
            "direction": "higher is more anomalous",
            "num_samples": NUM_SAMPLES,
            "thresholds": {of: _thresholds(scores) for of, scores in model.valid_scores.items()},
        },
        "graphs": {graph.name: _signature(graph) for graph in graphs},
        "versions": {"python": platform.python_version(), **packages},
    }


def _describe(column: Column) -> dict[str, Any]:
    """A column; a graph's numbers of one of texts are the places among its levels.

    A part of a date counts its unit from 1970 on or within the unit before, after ``shift`` milliseconds are taken off.
    """
    levels = {"levels": column.levels} if column.levels else {}
    return {
        "name": column.name,
        "dtype": column.dtype,
        **levels,
        **({"part": asdict(column.part)} if column.part else {}),
    }


def notes(card: Mapping[str, Any]) -> dict[str, str]:
    """The essentials of a card as the strings that a graph's own file can carry."""
    chosen = ("vae_lightning", "columns", "likelihood", "preprocess", "units", "reference_measure", "score")
    return {key: card[key] if isinstance(card[key], str) else json.dumps(card[key]) for key in chosen}


def _thresholds(scores: np.ndarray) -> dict[str, float | None]:
    found = {str(quantile): float(np.quantile(scores, quantile)) for quantile in QUANTILES}
    return {quantile: value if math.isfinite(value) else None for quantile, value in found.items()}


def _signature(graph: Graph) -> dict[str, Any]:
    num_columns, latent_dim = graph.vae.likelihood.num_columns, graph.vae.latent_dim
    shapes = {"x": num_columns, "z": latent_dim, "loc": latent_dim, "mean": num_columns, "by_column": num_columns}
    shapes["std"] = shapes[graph.gives[0]] if "std" in graph.gives else 0

    def describe(name: str, dtype: torch.dtype) -> dict[str, Any]:
        return {"shape": ["rows", *([shapes[name]] if name in shapes else [])], "dtype": str(dtype).split(".")[1]}

    return {
        "meaning": graph.meaning,
        "takes": {graph.takes: describe(graph.takes, graph.takes_dtype)},
        "gives": {name: describe(name, graph.gives_dtype) for name in graph.gives},
    }


def write_card(content: Mapping[str, Any], directory: Path) -> Path:
    """``directory/model.json``."""
    return write_whole(directory / CARD, (json.dumps(content, indent=2) + "\n").encode())


def write_module(model: VAEModel, directory: Path) -> Path:
    """``directory/model.safetensors``: all that the model holds as tensors; read again and compared bit by bit.

    Raises:
        ConfigError: when the model does not know how it was built.
        RunError: when what is read differs from what was written.
    """
    from safetensors.torch import load_file, save_file

    if not model.record:
        raise ConfigError("This model has no record of how it was built: only that of a run can be built again.")
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    tensors |= {
        SCORES + kind: torch.from_numpy(np.asarray(scores, np.float64)) for kind, scores in model.valid_scores.items()
    }
    if model.aggregate_posterior is not None:
        parts = model.aggregate_posterior.as_tensors()
        tensors |= {AGGREGATE_PARTS + name: part.contiguous() for name, part in parts.items()}
    path = directory / WEIGHTS
    save_file(tensors, path)
    again = load_file(path)
    if again.keys() != tensors.keys() or not all(_same(again[name], value) for name, value in tensors.items()):
        raise RunError(f"{path.name} does not hold what was written to it, so nothing was exported.")
    return path


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.numpy().tobytes() == other.numpy().tobytes()


def holds_card(directory: Path) -> bool:
    """Whether a model was exported to a directory."""
    try:
        return {"vae_lightning", "format"} <= parse_json((directory / CARD).read_bytes()).keys()
    except (OSError, ValueError):
        return False


def read_module(directory: Path) -> Contents:
    """What `write_module` and the card hold; only JSON and tensors are read, and nothing in them is executed.

    Raises:
        ConfigError: when the package safetensors is missing.
        RunError: when a file is damaged, of another program, or of a format that no module is rebuilt from.
    """
    path = directory / CARD
    try:
        content = parse_json(path.read_bytes())
        written = str(content["format"])
        version = str(content["vae_lightning"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is no card of vae_lightning, or it is damaged.") from error
    if written != "safetensors":
        raise RunError(
            f"{directory} holds graphs ({written}), which no module can be rebuilt from. Export the run again with "
            "--format safetensors, or load the run itself."
        )
    found = content.get("record")
    record = check_record({**(found if isinstance(found, dict) else {}), "version": version}, path)
    return Contents(record, *_read_tensors(directory / WEIGHTS))


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, np.ndarray], dict[str, Tensor] | None]:
    need("safetensors")
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read: it is missing or damaged ({error}).") from error
    scores = {kind: tensors.pop(SCORES + kind) for kind in SCORE_KINDS if SCORES + kind in tensors}
    if any(value.ndim != 1 or value.dtype != torch.float64 for value in scores.values()):
        raise RunError(f"{path} cannot be read: its validation scores are damaged.")
    names = [name for name in tensors if name.startswith(AGGREGATE_PARTS)]
    aggregate = {name.removeprefix(AGGREGATE_PARTS): tensors.pop(name) for name in names}
    return tensors, {kind: value.numpy() for kind, value in scores.items()}, aggregate or None


def need(written: str) -> None:
    """Say what to install, where a format's packages are not there.

    Raises:
        ConfigError: naming the package and the command.
    """
    missing = [name for name in PACKAGES[written] if not _importable(name)]
    if missing:
        raise ConfigError(f"The format {written} needs {' and '.join(missing)}: pip install 'vae-lightning[export]'")


def _importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
