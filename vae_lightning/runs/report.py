"""``report.html`` of a run directory, at any time: also while it trains, after Ctrl-C, and of a copy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vae_lightning.config.record import recorded_dataset
from vae_lightning.data.scaled import scale_rows
from vae_lightning.doctor.report import Finding, Report
from vae_lightning.errors import RunError, UserError
from vae_lightning.files import parse_json
from vae_lightning.inference.evaluation import Evaluation
from vae_lightning.inference.verdict import Course
from vae_lightning.objectives.base import final_beta
from vae_lightning.reporting.figures.training import read_history
from vae_lightning.reporting.html import Page
from vae_lightning.reporting.table import evaluate_with_bar, explain
from vae_lightning.runs.checkup import recorded_objective
from vae_lightning.runs.conclusion import read_summary, recorded_course
from vae_lightning.runs.loading import Loaded, describe_epoch, load_recorded
from vae_lightning.runs.outcome import Outcome
from vae_lightning.training.module import MONITOR

SUMMARY = "summary.json"


def page_of_run(run_dir: Path) -> Page:
    """The page on a run as its directory is now; nothing there is executed or changed.

    The numbers of a finished run are those of its summary. Of another one they are measured, with the weights kept so
    far. Where the rows cannot be read any more, the page has what can be told without them.

    Raises:
        RunError: when the directory holds no checkpoint, or a file of it is damaged.
    """
    loaded, summary = load_recorded(run_dir), _read_summary(run_dir)
    history = _read_history(run_dir)
    outcome, unread = _outcome(loaded, history, summary.best)
    result = summary.test or _evaluate(outcome)
    known = replace(outcome, table=summary.test, course=_course(run_dir, outcome))
    findings = Report([unread]) if unread else known.examine()
    return Page(
        title=outcome.title,
        facts=known.state_facts(),
        choices=known.choices,
        table=[] if result is None else explain(result, None if math.isnan(outcome.best) else outcome.best),
        verdict=findings.verdict,
        findings=findings,
        warnings=summary.warnings,
        configuration=_configuration(run_dir, loaded),
        figures=outcome.draw(),
        note="" if summary.finished else _state_of(loaded, outcome),
        conclusion=summary.verdict,
        comparison=outcome.compare(),
    )


@dataclass(frozen=True)
class _Summary:
    """What ``summary.json`` says; it is written last, so that a run without one has not finished."""

    finished: bool = False
    test: Evaluation | None = None
    best: float | None = None
    warnings: tuple[str, ...] = ()
    verdict: str = ""


def _read_summary(run_dir: Path) -> _Summary:
    path = run_dir / SUMMARY
    if not path.is_file():
        return _Summary()
    try:
        summary = parse_json(path.read_bytes())
        test: dict[str, Any] = {name: math.nan if value is None else value for name, value in summary["test"].items()}
        # Another version may have measured other things: they are measured again.
        is_ours = test.keys() == {field.name for field in fields(Evaluation)}
        warnings = tuple(map(str, summary["warnings"]))
        verdict = str(summary["verdict"]["words"])
        return _Summary(True, Evaluation(**test) if is_ours else None, float(summary[MONITOR]), warnings, verdict)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} cannot be read: it is damaged.") from error


def _course(run_dir: Path, outcome: Outcome) -> Course | None:
    if not outcome.rows:
        return None
    weight = 1.0 if outcome.objective is None else final_beta(outcome.objective)
    return recorded_course(run_dir, read_summary(run_dir), outcome.rows["valid"].num_rows, weight)


def _read_history(run_dir: Path) -> dict[str, np.ndarray]:
    try:
        return read_history(run_dir / "metrics.csv")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{run_dir / 'metrics.csv'} cannot be read: it is damaged.") from error


def _outcome(loaded: Loaded, history: Mapping[str, np.ndarray], best: float | None) -> tuple[Outcome, Finding | None]:
    """What is left of a run, and why its rows are not there where they are not."""
    model, config = loaded.model, loaded.config
    epochs = history.get("epoch", np.array([loaded.epoch]))
    monitored = history.get(MONITOR, np.full(len(epochs), math.nan))
    known: dict[str, Any] = {
        "epochs": int(np.nanmax(epochs, initial=loaded.epoch)) + 1,
        "seed": int(config.get("seed", 0)),
        "objective": recorded_objective(config),
        "best": float(next(iter(monitored[epochs == loaded.epoch]), math.nan)) if best is None else best,
        "history": history,
        "start_is_best": loaded.epoch < 0,
    }
    try:
        dataset = recorded_dataset(config, [column.name for column in model.columns])
    except UserError as error:
        return Outcome(model, {}, **known), Finding("DATA", None, str(error), about="data")
    rows = scale_rows(dataset, model.scaling, known["seed"], model.conditions)
    shown: dict[str, Any] = {"labels": dataset.valid.labels, "image_shape": dataset.image_shape, "dataset": dataset}
    return Outcome(model, rows, **known, **shown), None


def _evaluate(outcome: Outcome) -> Evaluation | None:
    if not outcome.rows:
        return None
    rows, judges = outcome.rows, list(outcome.judges.batches())
    return evaluate_with_bar(outcome.model, judges, rows["train"], rows["valid"], None, outcome.seed)


def _state_of(loaded: Loaded, outcome: Outcome) -> str:
    if not loaded.config.get("data", {}).get("source"):
        return ""  # of rows in memory: nothing that could go on
    return (
        f"This run has not finished: {outcome.epochs} epochs so far. Everything here is of the weights that are kept, "
        f"those {describe_epoch(loaded.epoch)}; python train.py resume=RUN goes on."
    )


def _configuration(run_dir: Path, loaded: Loaded) -> str:
    """What the checkpoint says, which has defaults, and of the other groups what was composed."""
    try:
        composed = yaml.safe_load((run_dir / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        composed = {}
    everything = {**(composed if isinstance(composed, dict) else {}), **loaded.config}
    return yaml.safe_dump(everything, sort_keys=False, allow_unicode=True)
