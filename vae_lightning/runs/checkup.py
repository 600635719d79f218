"""`examine_run`: a run directory before the doctor, with the rows it was trained on or others."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from vae_lightning.config.record import recorded_dataset
from vae_lightning.data.batch import Batch
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.files.dialect import Dialect, recorded_dialect
from vae_lightning.data.files.reading import RowReader
from vae_lightning.data.frames import to_matrix
from vae_lightning.data.scaled import scale_rows
from vae_lightning.data.sources.table import Table
from vae_lightning.data.split import split_rows
from vae_lightning.data.store import RowsInMemory, RowStore
from vae_lightning.doctor.report import Finding, Report
from vae_lightning.doctor.runs.history import examine_history
from vae_lightning.doctor.runs.trained import Record, Trained, examine_model
from vae_lightning.errors import DataError, UserError
from vae_lightning.files import read_rows
from vae_lightning.inference.evaluation import evaluate
from vae_lightning.inference.model import VAEModel
from vae_lightning.model.parts import build_part
from vae_lightning.objectives.base import Objective, final_beta
from vae_lightning.runs.conclusion import read_summary, recorded_course, recorded_table
from vae_lightning.runs.loading import load_recorded
from vae_lightning.shell import type_command
from vae_lightning.training.module import MONITOR

RECOMPUTED = 2_000_000
"""Rows times importance samples of a table that is computed again."""


def examine_run(run_dir: str | Path, data: str | Path | None = None) -> Report:
    """Examine the trained model of a run directory, and its history.

    Args:
        run_dir: The run directory; nothing in it is executed or changed.
        data: A file with the columns of the model; by default the rows that the run was trained on, split alike.

    Returns:
        The report. A directory that is no run, or rows that cannot be read, end in *cannot judge*.
    """
    run_dir = Path(run_dir)
    try:
        model, record, epoch = load_recorded(run_dir)
    except UserError as error:
        return Report([Finding("RUN", None, str(error), about=str(run_dir))])
    history = _history(run_dir, model)
    try:
        dataset, again = _dataset(model, record, data)
    except UserError as error:
        advice = f"Give rows with the model's columns: {type_command('vae-lightning', 'doctor', run_dir)} --data FILE."
        return Report([Finding("DATA", None, str(error), advice, about="data"), *history])
    seed = int(record.get("seed", 0))
    rows = scale_rows(dataset, model.scaling, seed, model.conditions)
    summary = read_summary(run_dir) if again else {}
    nelbo = _read_recorded_nelbo(run_dir, summary, epoch) if again else None
    objective = recorded_objective(record)
    weight = 1.0 if objective is None else final_beta(objective)
    trained = Trained(
        model,
        rows["train"],
        _together(rows["test"]) if again else _together(rows["valid"], rows["test"]),
        objective,
        None if nelbo is None else Record(nelbo, _together(rows["valid"]), seed),
        recorded_table(summary),
        recorded_course(run_dir, summary, rows["valid"].num_rows, weight),
    )
    report = examine_model(trained)
    findings = [*report, *_compare_with_table(trained, rows["test"], seed), *history]
    return Report(findings, {"run": str(run_dir), **report.measured})


def _together(*stores: RowStore) -> Batch:
    return RowsInMemory.of(batch for store in stores for batch in store.batches()).rows


def _dataset(model: VAEModel, record: dict[str, Any], data: str | Path | None) -> tuple[Dataset, bool]:
    """The rows, and whether they are those of the run.

    Raises:
        UserError: They cannot be read, or are not what the run was trained on.
    """
    names = [column.name for column in model.columns]
    if data is not None:
        dialect = recorded_dialect(record, str(data))
        if not all(column.is_number for column in model.columns):
            return _read_as_trained(model, str(data), dialect), False
        told = [] if model.conditions is None else model.conditions.names
        exposure = None if model.conditions is None else model.conditions.exposure_name
        told = [name for name in told if name != exposure]
        table = Table(str(data), columns=names, condition=told, exposure=exposure, **asdict(dialect))
        return table.load(), False
    return recorded_dataset(record, names), True


def _read_as_trained(model: VAEModel, data: str, dialect: Dialect) -> Dataset:
    """Rows with texts or dates, each text as the code that the model knows it by."""
    rows = list(RowReader(data, model.table_columns, dialects=[dialect, Dialect()]))
    if not rows:
        raise DataError(f"{data} holds no rows.")
    frame = pd.concat(rows)
    model.model_units(frame)  # says which values the model does not know
    matrix, name, conditions = to_matrix(frame, model.input_columns), Path(data).stem, model.conditions
    if conditions is None:
        return Dataset(name, tuple(model.columns), *split_rows(Rows(matrix), 0.1, 0.1, seed=0))
    x, told = (part.numpy() for part in conditions.split(torch.from_numpy(matrix)))
    parts = split_rows(Rows(x, condition=told), 0.1, 0.1, seed=0)
    return Dataset(
        name,
        tuple(model.columns),
        *parts,
        condition_columns=conditions.columns,
        condition_places=tuple(conditions.places),
        exposure=conditions.exposure_name,
    )


def recorded_objective(record: dict[str, Any]) -> Objective | None:
    """What training maximised; None where the record names what this version does not have."""
    try:
        return build_part(Objective, record["objective"], "objective")  # type: ignore[type-abstract]
    except (KeyError, TypeError, UserError):
        return None  # of a later version; β is then simply not stated


def _read_recorded_nelbo(run_dir: Path, summary: dict[str, Any], epoch: int) -> float | None:
    """The validation NELBO of the weights kept: the summary's, else what metrics.csv holds of their epoch, from 0."""
    recorded = summary.get("val/nelbo")
    if isinstance(recorded, float):
        return recorded
    try:
        found = [row for row in read_rows(run_dir / "metrics.csv") if row.get("epoch") == str(epoch)]
        value = float(found[-1][MONITOR]) if found else math.nan
    except (OSError, ValueError, KeyError):
        return None
    return value if math.isfinite(value) else None


def _compare_with_table(trained: Trained, test: RowStore, seed: int) -> list[Finding]:
    """Whether the checkpoint still gives the numbers of the test table: the same rows, draws and number of samples."""
    table, model = trained.table, trained.model
    if table is None:
        return []
    is_cheap = test.num_rows * table.num_samples <= RECOMPUTED
    num_samples = table.num_samples if is_cheap else 1
    again = evaluate(model.vae, list(test.batches()), None, num_samples, seed, model.log_slopes)
    # With one sample a row the KL alone is the same, where it has a closed form.
    names = ("nll", "nelbo", "kl") if is_cheap else ("kl",) if model.vae.kl_is_exact else ()
    pairs = {name: (getattr(table, name), getattr(again, name)) for name in names}
    right = all(abs(one - other) <= 1e-3 * max(1.0, abs(one)) for one, other in pairs.values())
    told = ", ".join(f"{name} {one:.4f} and {other:.4f}" for name, (one, other) in pairs.items())
    says = f"On the {test.num_rows:,} rows of the test table, recorded and computed again: {told or 'nothing exact'}."
    if not is_cheap:
        says += " The rest would take too long."
    advice = "" if right else "The checkpoint or the rows are not those of summary.json."
    return [Finding("EVAL", right, says, advice, about="table")]


def _history(run_dir: Path, model: VAEModel) -> list[Finding]:
    path = run_dir / "metrics.csv"
    if not path.is_file():
        return []
    try:
        return list(examine_history(path, len(model.columns), floor=model.loss_floor()))
    except UserError:
        return [Finding("RUN", None, f"{path} holds no losses that can be read.", about="history")]
