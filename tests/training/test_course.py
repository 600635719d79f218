"""How training went: which epoch was best, why it ended, what β reached; also over a resumed run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vae_lightning.training.callbacks.course import CourseRecorder

Train = Callable[..., Any]
NEVER_EARLY = "callbacks.early_stopping=null"


def test_a_warm_up_longer_than_the_training_is_told_of_before_and_after(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["objective.warmup=linear", "objective.warmup_epochs=400", "trainer.max_epochs=8"]
    run = train(tmp_path, *words)
    said = " ".join(capsys.readouterr().out.split())
    assert "The warm-up of 400 epochs is longer than the 8 of training: β ends at 0.02 instead of 1." in said
    assert "β ended at 0.02 instead of 1." in said
    assert run.summary["beta"] == pytest.approx(0.02)
    assert run.summary["verdict"]["code"] == "improving"
    assert "β of the KL was still 0.02 of 1" in run.summary["verdict"]["words"]


def test_a_run_that_reaches_its_weight_says_nothing_of_it(gaussian_run: Any) -> None:
    log = (gaussian_run.run_dir / "train.log").read_text()
    assert "β" not in log
    assert gaussian_run.summary["beta"] == 1.0


@pytest.mark.parametrize("start", ["linear", "zero"])
def test_all_epochs_and_the_best_of_them(train: Train, tmp_path: Path, start: str) -> None:
    run = train(tmp_path, "trainer.max_epochs=6", NEVER_EARLY, f"model.linear_path={start != 'zero'}")
    summary, curve = run.summary, run.metrics["val/nelbo"]
    assert summary["ended"] == "all 6 epochs"
    assert summary["stopped_early"] is False
    best = summary["best_epoch"]
    assert curve[best - 1] == pytest.approx(summary["val/nelbo"]) if best else (curve > summary["val/nelbo"]).all()
    kept = f"the weights of epoch {best}" if best else "the weights of the start"
    assert f"all 6 epochs; kept are {kept}." in (tmp_path / "train.log").read_text()


def test_stopping_early_is_said_with_the_epochs_waited(train: Train, tmp_path: Path) -> None:
    run = train(tmp_path, "trainer.max_epochs=60", "callbacks.early_stopping.patience=2", "optimizer.lr=0")
    assert run.summary["ended"].endswith("the last 2 without a better val/nelbo")
    assert run.summary["ended"].startswith("stopped early after ")
    assert run.summary["stopped_early"] is True
    assert run.summary["epochs"] < 60


def test_a_number_of_steps_may_end_it(train: Train, tmp_path: Path) -> None:
    assert train(tmp_path, "trainer.max_steps=3", NEVER_EARLY).summary["ended"] == "ended after 1 epoch"


def test_a_resumed_run_knows_its_whole_course(train: Train, tmp_path: Path) -> None:
    recorder = CourseRecorder()
    words = [NEVER_EARLY, "scheduler=none"]
    assert train(tmp_path, "trainer.max_epochs=3", *words).summary["epochs"] == 3
    resumed = train(tmp_path, "trainer.max_epochs=6", "resume=true", *words)
    state = resumed.checkpoint()["callbacks"]
    (curves,) = [value for name, value in state.items() if "CourseRecorder" in name]
    recorder.load_state_dict(curves)
    assert recorder.curves["valid"] == pytest.approx(resumed.metrics["val/nelbo"].tolist())
    assert recorder.curves["steps"] == resumed.metrics["step"].tolist()
    assert len(recorder.curves["train"]) == 5  # that of the last epoch joins as training ends
    assert np.isnan(recorder.curves["train"][2])  # nobody was there to see the third
    assert np.isfinite(recorder.start)


def test_one_row_gets_no_verdict_and_no_error_bar(train: Train, tmp_path: Path) -> None:
    np.save(tmp_path / "twelve.npy", np.random.default_rng(0).normal(size=(12, 1)) + np.zeros(5))
    words = ["data=table", f"data.path={tmp_path / 'twelve.npy'}", "data.batch_size=8", "trainer.max_epochs=7"]
    run = train(tmp_path / "run", *words)
    assert run.summary["verdict"]["code"] == "too_few_rows"
    assert run.summary["test"]["nll_standard_error"] is None
    assert "NaN" not in (tmp_path / "run" / "summary.json").read_text()
    assert not [words for words in run.summary["warnings"] if "collapse" in words]
