"""A sweep that is killed in the middle and started again: nothing that was done is touched, the rest is as it was."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.sweeps.sweeping import contents, start
from vae_lightning.sweeps.base import jobs_of

FIXED = ["model.latent_dim=2,3", "data.seed=0", "trainer.max_epochs=40", "callbacks.early_stopping=null"]


def finished(sweep_dir: Path) -> list[int]:
    return [number for number, job in jobs_of(sweep_dir).items() if job.status == "finished"]


def in_the_middle(sweep_dir: Path, done: int) -> bool:
    """So many jobs have finished, and another has an epoch to go on from."""
    jobs = jobs_of(sweep_dir)
    begun = [int(path.parts[-3]) for path in sweep_dir.glob("*/checkpoints/last.ckpt")]
    running = any(jobs[number].status == "running" for number in begun if number in jobs)
    return running and len(finished(sweep_dir)) >= done


def numbers(sweep_dir: Path) -> list[dict[str, Any]]:
    summaries = [json.loads((sweep_dir / str(number) / "summary.json").read_text()) for number in jobs_of(sweep_dir)]
    return [{"val/nelbo": summary["val/nelbo"], **summary["test"]} for summary in summaries]


@pytest.mark.parametrize(
    ("launcher", "seeds", "least"),
    [
        ("basic", 2, 1),
        pytest.param("basic", 3, 2, marks=pytest.mark.long),
        pytest.param("joblib", 3, 2, marks=pytest.mark.long),
        pytest.param("stacked", 3, 2, marks=pytest.mark.long),
    ],
)
def test_a_killed_sweep_goes_on(
    launcher: str,
    seeds: int,
    least: int,
    sweep: Callable[..., int],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    axes, count = [f"seed=range({seeds})", *FIXED], 2 * seeds
    words, folder = [*axes, "sweep.dir=s", f"launcher={launcher}"], tmp_path / "s"
    process = start(*words, cwd=tmp_path)
    give_up = time.monotonic() + 240
    while not in_the_middle(folder, least) and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    out, _ = process.communicate()
    done = finished(folder)
    assert least <= len(done) < count, out
    before = {number: contents(folder / str(number)) for number in done}

    assert sweep(*words) == 0
    out = capfd.readouterr().out
    assert f"{count} jobs in s: {len(done)} finished before, {count - len(done)} to run." in out
    assert "Going on with job" in out
    assert {number: contents(folder / str(number)) for number in done} == before
    assert finished(folder) == list(range(count))
    # Only what ran at the kill is begun twice: one a process, in a stack all its members.
    at_once = count - len(done) if launcher == "stacked" else 2
    assert sum(job.attempts for job in jobs_of(folder).values()) <= count + at_once
    table = pd.read_csv(folder / "sweep.csv")
    assert list(table["status"]) == ["finished"] * count

    assert sweep(*axes, "sweep.dir=whole") == 0
    if launcher == "stacked":  # what is added up in another order is the same but for rounding
        assert [one["val/nelbo"] for one in numbers(folder)] == pytest.approx(
            [one["val/nelbo"] for one in numbers(tmp_path / "whole")], abs=1e-3
        )
    else:
        assert numbers(folder) == numbers(tmp_path / "whole")
