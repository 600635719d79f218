"""What a run came to; and the same read back from ``summary.json`` and ``metrics.csv``."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vae_lightning.errors import Notice
from vae_lightning.files import parse_json, read_rows
from vae_lightning.inference.evaluation import Evaluation
from vae_lightning.inference.verdict import Course, Verdict

SUMMARY = "summary.json"


class Conclusion(NamedTuple):
    """What a run came to.

    Attributes:
        result: the test table's numbers.
        best: the val/nelbo of the weights that are kept.
        course: how training went.
        verdict: what that comes to.
        warnings: what holds of these weights and a user should know.
    """

    result: Evaluation
    best: float
    course: Course
    verdict: Verdict
    warnings: Sequence[Notice]


def read_summary(run_dir: Path) -> dict[str, Any]:
    """What ``summary.json`` holds; empty where there is none, as of a run that has not finished, or it is damaged."""
    try:
        return parse_json((run_dir / SUMMARY).read_bytes())
    except (OSError, ValueError):
        return {}


def recorded_table(summary: Mapping[str, Any]) -> Evaluation | None:
    """The test table; None where there is none, or one of another version."""
    try:
        numbers: dict[str, Any] = {n: math.nan if value is None else value for n, value in summary["test"].items()}
        return Evaluation(**numbers)
    except (KeyError, TypeError, AttributeError):
        return None


def recorded_course(run_dir: Path, summary: Mapping[str, Any], num_valid: int, final_beta: float) -> Course | None:
    """How training went; None where the run has not finished or kept no curves.

    Args:
        run_dir: the directory.
        summary: its summary.
        num_valid: validation rows.
        final_beta: the weight of the KL that the objective was to end with.
    """
    try:
        rows = read_rows(run_dir / "metrics.csv")
        validated = [row for row in rows if row["val/nelbo"]]
        return Course(
            valid=[float(row["val/nelbo"]) for row in validated],
            steps=[float(row["step"]) for row in validated],
            learning_rates=[float(row["lr"]) for row in validated],
            train=[float(row["train/nelbo"]) for row in rows if row["train/nelbo"]],
            best_epoch=summary["best_epoch"],
            num_valid=num_valid,
            ended=summary["ended"],
            stopped_early=summary["stopped_early"],
            beta=summary["beta"],
            final_beta=final_beta,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
