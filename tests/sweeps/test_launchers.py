"""The same jobs through other launchers: equal numbers, and a process that dies takes its own job only."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from submitit.core.core import Job as SubmititJob

from vae_lightning.sweeps.base import Job, jobs_of, write_job
from vae_lightning.sweeps.launch import Launch

Sweep = Callable[..., int]
AXES = ["likelihood.variance=shared,predicted"]


def numbers(sweep_dir: Path) -> dict[int, dict[str, Any]]:
    """What each job of a sweep computed."""
    found = {}
    for number in jobs_of(sweep_dir):
        summary = json.loads((sweep_dir / str(number) / "summary.json").read_text())
        found[number] = {"val/nelbo": summary["val/nelbo"], **summary["test"]}
    return found


@pytest.mark.parametrize("launcher", ["joblib", pytest.param("submitit_local", marks=pytest.mark.long)])
def test_every_launcher_gives_the_same_numbers_job_for_job(launcher: str, sweep: Sweep, tmp_path: Path) -> None:
    assert sweep(*AXES, "sweep.dir=basic") == 0
    assert sweep(*AXES, f"sweep.dir={launcher}", f"launcher={launcher}") == 0
    assert numbers(tmp_path / launcher) == numbers(tmp_path / "basic")
    jobs = jobs_of(tmp_path / launcher)
    assert [job.name for job in jobs.values()] == [job.name for job in jobs_of(tmp_path / "basic").values()]
    # Any launcher goes on with a sweep of another.
    assert sweep(*AXES, f"sweep.dir={launcher}") == 0
    assert jobs_of(tmp_path / launcher) == jobs


def lost(jobs: dict[int, Job]) -> None:
    """Two jobs of three have finished, and the one whose process died was tried twice."""
    assert [job.status for job in jobs.values()] == ["finished", "failed", "finished"]
    assert jobs[1].attempts == 2
    assert "memory" in jobs[1].error


@pytest.mark.long
def test_a_process_that_dies_takes_only_its_own_job(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second job ends its process without a word, as a machine short of memory would."""
    guard = "callbacks.guard={_target_:vae_lightning.training.callbacks.guard.LossGuard}"
    assert sweep("launcher=joblib", f"{guard},{{_target_:os._exit,status:9}},null", "sweep.dir=s") == 1
    lost(jobs_of(tmp_path / "s"))
    assert "error: 1 of 3 jobs failed, the first is job 1" in capsys.readouterr().err


def test_a_job_that_is_lost_is_started_once_more(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As above, without the processes: the second job is begun and never ends."""
    launch = Launch._launch

    def losing(self: Launch, jobs: dict[int, Job]) -> Exception | None:
        if 1 in jobs:
            begun = replace(jobs[1], status="running", attempts=jobs[1].attempts + 1)
            write_job(self.sweep_dir / "1", begun)
        others = {number: job for number, job in jobs.items() if number != 1}
        return launch(self, others) if others else None

    monkeypatch.setattr(Launch, "_launch", losing)
    assert sweep("seed=0,1,2", "trainer.max_epochs=1", "sweep.dir=s") == 1
    lost(jobs_of(tmp_path / "s"))
    assert "error: 1 of 3 jobs failed, the first is job 1" in capsys.readouterr().err


def test_slurm_gets_a_script_that_runs_each_job_with_its_threads(
    tmp_path: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against stand-ins for Slurm's commands, which accept the jobs and say that they failed."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    (bin_dir / "srun").write_text("#!/bin/sh\nexit 0\n")
    (bin_dir / "sbatch").write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/script.sh\necho "Submitted batch job 7"\n')
    (bin_dir / "squeue").write_text("#!/bin/sh\nexit 0\n")
    (bin_dir / "sacct").write_text("#!/bin/sh\necho 'JobID|State|NodeList'\necho '7_0|FAILED|n'\necho '7_1|FAILED|n'\n")
    for path in bin_dir.iterdir():
        path.chmod(0o755)
    monkeypatch.setattr(SubmititJob, "_results_timeout_s", 0)  # else it waits for the results of failed jobs
    monkeypatch.setenv("PATH", f"{bin_dir}:{Path(sys.executable).parent}:/usr/bin:/bin")
    status = sweep(
        "launcher=submitit_slurm", "seed=0,1", "torch.threads=3", "hydra.launcher.partition=short", "sweep.dir=s"
    )
    script = (tmp_path / "script.sh").read_text()
    assert "#SBATCH --partition=short" in script
    assert "#SBATCH --cpus-per-task=3" in script
    assert "#SBATCH --array=0-1%2" in script
    assert "submitit.core._submit" in script
    assert status == 1
    assert capsys.readouterr().err.startswith("error: No job could be started. launcher=submitit_slurm: Uncompleted")
