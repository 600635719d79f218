"""A job's record and its lock."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

from vae_lightning.sweeps.base import (
    COMPOSED,
    Job,
    at_work,
    claim,
    describe_progress,
    jobs_of,
    next_number,
    read_job,
    write_job,
)


def test_a_sweep_says_how_many_jobs_are_done_and_how_long_the_others_may_take(tmp_path: Path) -> None:
    """A sweep's console told of each job, and nothing of the whole."""
    now = time.time()
    for number, status in enumerate(["finished", "failed", "running", "planned"]):
        write_job(tmp_path / str(number), Job("abc", [], [], {}, status, started=now - 10))  # type: ignore[arg-type]
    assert describe_progress(tmp_path) == ""  # nobody knows when it was begun
    (tmp_path / COMPOSED).touch()
    os.utime(tmp_path / COMPOSED, (now - 20, now - 20))
    assert describe_progress(tmp_path) == "2 of 4 done, about 0:00:20 left."
    assert describe_progress(tmp_path, 12) == "2 of 12 done, about 0:01:40 left."
    assert describe_progress(tmp_path, 2) == ""


def test_a_record_comes_back_as_it_went(tmp_path: Path) -> None:
    job = Job("abc", ["++model.latent_dim=2", "seed=1"], ["seed=1"], {"seed": 1, "x": [1, None]}, "failed", None, "why")
    write_job(tmp_path / "3", job)
    assert read_job(tmp_path / "3") == job
    assert jobs_of(tmp_path) == {3: job}
    assert job.name == "seed=1"
    assert [path.name for path in (tmp_path / "3").iterdir()] == ["job.json"]


def test_what_is_no_record_is_none_and_its_number_is_taken(tmp_path: Path) -> None:
    for number, text in enumerate(["", "{", '{"fingerprint": "a"}', "[]"]):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "job.json").write_text(text)
        assert read_job(tmp_path / str(number)) is None
    (tmp_path / "notes").mkdir()
    assert jobs_of(tmp_path) == {}
    assert next_number(tmp_path) == 4
    assert jobs_of(tmp_path / "nowhere") == {}


def _hold(run_dir: Path, ready: Any) -> None:
    with claim(run_dir) as mine:
        assert mine
        ready.set()
        time.sleep(60)


def test_one_process_holds_a_job_and_its_death_frees_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready))
    process.start()
    try:
        assert ready.wait(30)
        assert at_work(tmp_path)
        with claim(tmp_path) as mine:
            assert not mine
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not at_work(tmp_path)
    with claim(tmp_path) as mine:
        assert mine
        assert at_work(tmp_path)
    assert not at_work(tmp_path)
    assert not at_work(tmp_path / "nothing here")
