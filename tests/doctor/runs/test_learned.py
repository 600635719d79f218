"""What a model has learned: each finding where it holds, and none of it where it does not."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.evaluations import RESULT as SOUND
from vae_lightning.config.record import recorded_dataset
from vae_lightning.data.scaled import scale_rows
from vae_lightning.data.store import RowsInMemory
from vae_lightning.doctor.report import Finding
from vae_lightning.doctor.runs.learned import check_activity, check_training, check_variances, compare_with_controls
from vae_lightning.inference.verdict import Course
from vae_lightning.objectives.elbo import ELBO
from vae_lightning.runs.checkup import examine_run
from vae_lightning.runs.loading import load

REPORTS = Path(__file__).parents[3].parent / "shared" / "reports" / "tables"
RESULT = replace(SOUND, control_words="factor analysis")


def judged(findings: list[Finding]) -> dict[str, bool | None]:
    return {finding.code: finding.ok for finding in findings}


@pytest.mark.parametrize(
    ("changes", "baseline", "linear"),
    [
        ({}, True, True),
        ({"nll": 9.5}, True, False),
        ({"nll": 8.55}, True, True),  # worse than factor analysis by 2 % of what was learned
        ({"nll": 8.65}, True, None),  # by more, within two standard errors
        ({"nll": 12.0}, None, False),  # within two standard errors of knowing nothing, and they are large
        ({"nll": 12.0, "baseline_gain_standard_error": 1e-3}, False, False),
        ({"nll": 13.0}, False, False),
        (
            {"num_rows": 1, "baseline_gain_standard_error": math.nan, "control_gain_standard_error": math.nan},
            None,
            None,
        ),
    ],
)
def test_the_model_against_simpler_ones(changes: dict[str, float], baseline: bool | None, linear: bool | None) -> None:
    findings = compare_with_controls(replace(RESULT, **changes))  # type: ignore[arg-type]
    assert judged(findings) == {"BASELINE": baseline, "LINEAR": linear}


def test_without_a_control_there_is_nothing_to_say() -> None:
    assert compare_with_controls(replace(RESULT, control=math.nan, baseline=math.nan)) == []


@pytest.mark.parametrize(
    ("changes", "code", "ok"),
    [
        ({}, "COLLAPSE", True),
        ({"active_units": 0, "kl": 0.02}, "COLLAPSE", False),
        ({"active_units": 0, "kl": 272.0}, "DIVERGED", False),
        ({"active_units": 0, "kl": math.nan}, "DIVERGED", False),
        ({"active_units": 0, "kl": 0.02, "num_rows": 1}, "COLLAPSE", None),
    ],
)
def test_a_collapse_needs_a_small_kl(changes: dict[str, float], code: str, ok: bool | None) -> None:
    finding = check_activity(replace(RESULT, **changes), ELBO())  # type: ignore[arg-type]
    assert (finding.code, finding.ok) == (code, ok)


def test_training_that_was_not_over_is_undertrained() -> None:
    steps, rates = range(10, 210, 10), [1e-3] * 20
    flat = Course([8.1] * 20, steps, rates, [8.0] * 20, best_epoch=20, num_valid=50, ended="all 20 epochs")
    assert judged(check_training(RESULT, flat)) == {"UNDERTRAINED": True}
    assert judged(check_training(RESULT, replace(flat, valid=np.linspace(12, 8, 20)))) == {"UNDERTRAINED": False}
    (finding,) = check_training(RESULT, replace(flat, beta=0.02))
    assert finding.ok is False
    assert "0.02 of 1" in finding.says
    assert check_training(RESULT, None) == []


@pytest.fixture(scope="module")
def rows_of() -> Callable[..., Any]:
    def parts(run: Any) -> Any:
        model = load(run.run_dir)
        dataset = recorded_dataset(model.record, [column.name for column in model.columns])
        rows = scale_rows(dataset, model.scaling, 0)
        return model, rows["train"], RowsInMemory.of(rows["test"].batches()).rows

    return parts


def test_a_settled_sigma_is_the_mean_squared_residual(gaussian_run: Any, rows_of: Callable[..., Any]) -> None:
    (finding,) = check_variances(*rows_of(gaussian_run))
    assert finding.ok
    assert finding.evidence["median"] == pytest.approx(1, rel=0.3)


@pytest.mark.parametrize("factor", [3.0, 1 / 3])
def test_a_sigma_too_great_or_too_small_is_found_with_its_columns(
    gaussian_run: Any, rows_of: Callable[..., Any], factor: float
) -> None:
    model, train, test = rows_of(gaussian_run)
    scale = model.vae.likelihood.scale
    with torch.no_grad():
        scale.raw_log_var[1] += 2 * math.log(factor)
    (finding,) = check_variances(model, train, test)
    assert finding.code == "VARIANCE"
    assert finding.ok is False
    assert f"'{model.columns[1].name}' (" in finding.says
    assert f"'{model.columns[0].name}' (" not in finding.says


def test_a_fixed_sigma_is_a_choice(train: Callable[..., Any], tmp_path: Path, rows_of: Callable[..., Any]) -> None:
    run = train(tmp_path, "likelihood.variance=fixed", "trainer.max_epochs=1")
    assert check_variances(*rows_of(run)) == []


def small(path: Path) -> Path:
    """300 rows of six columns that two factors explain but for a thousandth."""
    draws = np.random.default_rng(0)
    x = draws.normal(size=(300, 2)) @ draws.normal(size=(2, 6)) + 0.03 * draws.normal(size=(300, 6))
    np.save(path / "small.npy", x)
    return path / "small.npy"


@pytest.mark.parametrize("reported", [False, True])
def test_a_model_cut_off_in_training_is_named_by_its_codes(
    train: Callable[..., Any], tmp_path: Path, reported: bool
) -> None:
    """A2: few steps from a start that knows nothing; every output once said that all was well."""
    if reported and not (REPORTS / "small300.csv").exists():
        pytest.skip(f"needs small300.csv, which is not in {REPORTS}")
    path = REPORTS / "small300.csv" if reported else small(tmp_path)
    words = ["data=table", f"data.path={path}", "data.batch_size=128", "optimizer.lr=0.001", "scheduler=none"]
    begun = ["model.linear_path=false", "trainer.max_epochs=100", "callbacks.early_stopping=null"]
    run = train(tmp_path / "run", *words, *begun)
    assert run.summary["verdict"]["code"] == "improving"
    assert {"VARIANCE", "UNDERTRAINED", "LINEAR"} <= set(examine_run(tmp_path / "run").codes)


def test_the_default_on_the_same_rows_is_clean(train: Callable[..., Any], tmp_path: Path) -> None:
    words = ["data=table", f"data.path={small(tmp_path)}", "trainer.max_epochs=auto", "optimizer.lr="]
    run = train(tmp_path / "run", *words)
    assert run.summary["verdict"]["code"] in ("learned", "not_better_than_linear"), run.summary["verdict"]
    assert examine_run(tmp_path / "run").codes == ()
