"""A job in its own process: done once, recorded whatever happens, never over a finished one."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vae_lightning.errors import ConfigError, RunError
from vae_lightning.sweeps.base import Job, PrunedError, claim, read_job, write_job
from vae_lightning.sweeps.work import work_on

JOB = Job("print", ["seed=0"], ["seed=0"], {"seed": 0})


def do(
    run_dir: Path, work: Callable[[bool], float], stop_since: float | None = None, repeat: bool = False
) -> float | None:
    return work_on(run_dir, JOB, work, stop_since=stop_since, repeat=repeat)


def never(resumes: bool) -> float:
    raise AssertionError(f"was run, resumes={resumes}")


def raising(error: BaseException) -> Callable[[bool], float]:
    def work(resumes: bool) -> float:  # noqa: ARG001
        raise error

    return work


def record(run_dir: Path) -> Job:
    job = read_job(run_dir)
    assert job is not None
    return job


def test_a_job_is_done_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    def work(resumes: bool) -> float:
        seen.append((resumes, record(tmp_path).status))
        return 3.5

    assert do(tmp_path, work) == 3.5
    assert seen == [(False, "running")]
    written = (tmp_path / "job.json").stat().st_mtime_ns
    assert do(tmp_path, never) == 3.5
    assert (tmp_path / "job.json").stat().st_mtime_ns == written
    job = record(tmp_path)
    assert (job.status, job.value, job.attempts, job.error) == ("finished", 3.5, 1, "")
    assert job.seconds >= 0
    assert "3.500" in capsys.readouterr().out


def test_a_failure_is_recorded_and_told_before_it_is_raised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError):
        do(tmp_path, raising(ConfigError("The 'x' parameter must be y.")))
    assert (record(tmp_path).status, record(tmp_path).error) == ("failed", "The 'x' parameter must be y.")
    assert "failed: The 'x' parameter must be y." in capsys.readouterr().out
    with pytest.raises(ZeroDivisionError):
        do(tmp_path, raising(ZeroDivisionError("division by zero")), repeat=True)
    assert record(tmp_path).error == "ZeroDivisionError: division by zero"


def test_a_failed_job_is_repeated_only_when_asked_and_starts_in_an_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        do(tmp_path, raising(RunError("no")))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_text("of the failed start")
    assert do(tmp_path, never) is None

    def work(resumes: bool) -> float:
        assert not resumes
        assert sorted(path.name for path in tmp_path.iterdir()) == [".run.lock", "job.json"]
        return 1.0

    assert do(tmp_path, work, repeat=True) == 1.0
    assert record(tmp_path).attempts == 2


def test_no_number_is_a_failure(tmp_path: Path) -> None:
    assert do(tmp_path, lambda _: math.nan) is None
    job = record(tmp_path)
    assert (job.status, job.value) == ("failed", None)
    assert "nan" in job.error
    json.loads((tmp_path / "job.json").read_text(), parse_constant=pytest.fail)


def test_a_pruned_job_is_no_failure(tmp_path: Path) -> None:
    assert do(tmp_path, raising(PrunedError("Others were better by epoch 3."))) is None
    assert record(tmp_path).status == "pruned"
    assert do(tmp_path, never) is None


def test_an_interrupted_job_goes_on_where_it_has_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        do(tmp_path, raising(KeyboardInterrupt()))
    assert record(tmp_path).status == "running"
    seen = []
    with pytest.raises(KeyboardInterrupt):
        do(tmp_path, lambda resumes: seen.append(resumes) or raising(KeyboardInterrupt())(resumes))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_text("one epoch")
    do(tmp_path, lambda resumes: seen.append(resumes) or 1.0)
    assert seen == [False, True]
    assert record(tmp_path).attempts == 3
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()


def test_a_job_that_another_process_is_at_is_left_alone(tmp_path: Path) -> None:
    with claim(tmp_path):
        assert do(tmp_path, never) is None


@pytest.mark.parametrize("status", ["finished", "running"])
def test_a_directory_of_another_job_is_not_written_over(tmp_path: Path, status: str) -> None:
    other = Job("other", ["seed=1"], ["seed=1"], {}, status, 2.0)  # type: ignore[arg-type]
    write_job(tmp_path, other)
    with pytest.raises(RunError, match="another configuration: seed=1"):
        do(tmp_path, never)
    assert record(tmp_path) == other


def test_nothing_new_is_begun_after_a_failure_that_stops(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        do(tmp_path / "0", raising(RunError("no")))
    assert do(tmp_path / "1", never, stop_since=record(tmp_path / "0").started) is None
    assert do(tmp_path / "2", lambda _: 1.0) == 1.0
    # A failure of an earlier sweep in the same directory stops nothing.
    assert do(tmp_path / "3", lambda _: 2.0, stop_since=time.time()) == 2.0


def test_what_is_no_jobs_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds notes.txt, but no job.json"):
        do(tmp_path, never)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_job_killed_after_its_summary_has_finished(tmp_path: Path) -> None:
    write_job(tmp_path, replace(JOB, status="running", attempts=1))
    (tmp_path / "summary.json").write_text('{"val/nelbo": 2.5}')
    assert do(tmp_path, never) == 2.5
    assert (record(tmp_path).status, record(tmp_path).value) == ("finished", 2.5)


def test_an_error_of_the_program_leaves_its_traceback_in_the_log(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        do(tmp_path, raising(KeyError("x")))
    assert "Traceback" in (tmp_path / "train.log").read_text()
