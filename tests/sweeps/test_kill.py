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

JOBS = 6
WORDS = ["seed=0,1,2", "model.latent_dim=2,3", "data.seed=0", "trainer.max_epochs=40", "callbacks.early_stopping=null"]


def finished(sweep_dir: Path) -> list[int]:
    return [number for number, job in jobs_of(sweep_dir).items() if job.status == "finished"]


def in_the_middle(sweep_dir: Path) -> bool:
    """Some jobs have finished, and another has an epoch to go on from."""
    jobs = jobs_of(sweep_dir)
    begun = [int(path.parts[-3]) for path in sweep_dir.glob("*/checkpoints/last.ckpt")]
    return len(finished(sweep_dir)) >= 2 and any(jobs[number].status == "running" for number in begun if number in jobs)


def numbers(sweep_dir: Path) -> list[dict[str, Any]]:
    summaries = [json.loads((sweep_dir / str(number) / "summary.json").read_text()) for number in range(JOBS)]
    return [{"val/nelbo": summary["val/nelbo"], **summary["test"]} for summary in summaries]


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_killed_sweep_goes_on(launcher: str, sweep: Callable[..., int], tmp_path: Path) -> None:
    words, folder = [*WORDS, "sweep.dir=s", f"launcher={launcher}"], tmp_path / "s"
    process = start(*words, cwd=tmp_path)
    give_up = time.monotonic() + 240
    while not in_the_middle(folder) and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    out, _ = process.communicate()
    done = finished(folder)
    assert 2 <= len(done) < JOBS, out
    before = {number: contents(folder / str(number)) for number in done}

    again = start(*words, cwd=tmp_path)
    out, _ = again.communicate(timeout=400)
    assert again.returncode == 0, out
    assert f"{JOBS} jobs in s: {len(done)} finished before, {JOBS - len(done)} to run." in out
    assert "Going on with job" in out
    assert {number: contents(folder / str(number)) for number in done} == before
    assert finished(folder) == list(range(JOBS))
    assert sum(job.attempts for job in jobs_of(folder).values()) <= JOBS + 2
    table = pd.read_csv(folder / "sweep.csv")
    assert list(table["status"]) == ["finished"] * JOBS

    assert sweep(*WORDS, "sweep.dir=whole") == 0
    assert numbers(folder) == numbers(tmp_path / "whole")
