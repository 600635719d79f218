"""A trained model as files for other programs: ONNX graphs, torch.export graphs, or safetensors with a card."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from vae_lightning.errors import ConfigError, RunError, check_parameter
from vae_lightning.export.card import (
    CARD,
    WEIGHTS,
    card,
    holds_card,
    need,
    notes,
    write_card,
    write_module,
)
from vae_lightning.export.files import Agreement, agreement, run_onnx, run_torch, write_onnx, write_torch
from vae_lightning.export.graphs import graphs
from vae_lightning.files import partial_beside
from vae_lightning.inference.checkpoint import record_of
from vae_lightning.inference.model import VAEModel
from vae_lightning.inference.scoring import ScoreKind, check_kind

Format = Literal["onnx", "safetensors", "torch"]
FORMATS: tuple[Format, ...] = get_args(Format)
GRAPHS = ("encoder", "decoder", "score")
OURS = {CARD, WEIGHTS, *(f"{name}.{ending}" for name in GRAPHS for ending in ("onnx", "pt2"))}
"""Every name that an export writes; a directory that holds others is never replaced."""


class Export(NamedTuple):
    """What was written.

    Attributes:
        directory: where.
        files: their names, the card last.
        agreements: how far each graph is from the module; empty for safetensors, which holds the module itself.
    """

    directory: Path
    files: tuple[str, ...]
    agreements: tuple[Agreement, ...]


def export(model: VAEModel, directory: str | Path, format: Format = "onnx", kind: ScoreKind = "elbo") -> Export:
    """Write a model's files and its card into ``directory``, which appears only when all have been checked.

    Graphs are run on random rows and held against the module (see :func:`graph_files.agreement`); safetensors are read
    again and compared bit by bit.

    Args:
        model: in evaluation mode or not; its graphs are.
        directory: a new or empty one, or that of an earlier export, which is replaced.
        format: ``onnx``, ``safetensors`` or ``torch``.
        kind: of the score graph.

    Raises:
        ConfigError: for another ``format`` or ``kind``, or when packages are missing.
        RunError: when the directory holds anything else, or a file does not agree with the module.
        OSError: when it cannot be written.
    """
    check_parameter("export", "format", format in FORMATS, f"one of {', '.join(FORMATS)}", format)
    check_kind(kind, "export")
    need(format)
    if model.conditions is not None and format != "safetensors":
        raise ConfigError(
            f"The model is told a condition ({', '.join(model.conditions.names)}) beside each row, which graphs cannot "
            "take: --format safetensors (format='safetensors') holds all of it."
        )
    target = Path(directory).resolve()
    _check_target(target)
    with _appearing(target) as partial:
        write = _write_module if format == "safetensors" else _write_graphs
        return Export(target, *write(model, partial, format, kind))


def _write_module(
    model: VAEModel, directory: Path, format: Format, kind: ScoreKind
) -> tuple[tuple[str, ...], tuple[Agreement, ...]]:
    path = write_module(model, directory)
    content = {**card(model, kind, format, ()), "record": record_of(model)}
    return (path.name, write_card(content, directory).name), ()


def _write_graphs(
    model: VAEModel, directory: Path, format: Format, kind: ScoreKind
) -> tuple[tuple[str, ...], tuple[Agreement, ...]]:
    parts = graphs(model.vae, model.scaling, kind)
    content = card(model, kind, format, parts)
    write, run = (write_onnx, run_onnx) if format == "onnx" else (write_torch, run_torch)
    found = []
    for graph in parts:
        path = write(graph, directory, notes(content))
        found.append(agreement(graph, path, run(path)))
    content["agreement"] = {one.file: {"largest": one.largest, "rows": one.num_rows} for one in found}
    return (*(one.file for one in found), write_card(content, directory).name), tuple(found)


def _check_target(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise RunError(f"{target} is a file: name a directory that is new or empty.")
    names = {path.name for path in target.iterdir()}
    others = sorted(names - OURS)
    if others or (names and not holds_card(target)):
        first = others[0] if others else min(names)
        raise RunError(f"{target} holds {first}, which is no part of an export: name a directory that is new or empty.")


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A directory beside ``target`` that takes its place in the end, or is gone when something went wrong."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_beside(target)
    old = partial.with_name(f"{partial.name}.old")
    partial.mkdir()
    try:
        yield partial
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(partial, target)
        except BaseException:
            if old.exists():
                os.replace(old, target)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
