"""Records that are damaged, or were written by somebody who wants to break things: one line, never a traceback."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from vae_lightning.cli.main import main
from vae_lightning.sweeps.base import Job, read_job, write_job

ODD: list[Any] = [None, "x", -1, 1e308, [], {}, [None], {"a": 1}, 10**30]


def invoke(*words: Any) -> Result:
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("name", Job.__dataclass_fields__)
def test_a_record_of_a_job_is_sound_or_none(tmp_path: Path, name: str, odd: Any) -> None:
    write_job(tmp_path, Job("abc", ["seed=0"], ["seed=0"], {"seed": 0}, "finished", 1.0))
    content = json.loads((tmp_path / "job.json").read_text())
    (tmp_path / "job.json").write_text(json.dumps({**content, name: odd}))
    job = read_job(tmp_path)
    if job is not None:
        assert job.name
        assert isinstance(job.attempts, int)
        assert job.status in ("planned", "running", "finished", "failed", "pruned")


@pytest.mark.parametrize("content", [b"", b"[", b"null", b"{}", b"[" * 100_000, b"\xff\x00", b'{"fingerprint": NaN}'])
def test_a_record_that_is_no_json_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "job.json").write_bytes(content)
    assert read_job(tmp_path) is None


@pytest.mark.parametrize("odd", [None, "x", [], {"a": 1}], ids=repr)
@pytest.mark.parametrize("name", ["test", "val/nelbo", "warnings", "verdict", "best_epoch", "data", "overrides"])
def test_a_summary_that_is_damaged_is_one_line(gaussian_run: Any, tmp_path: Path, name: str, odd: Any) -> None:
    run_dir = shutil.copytree(gaussian_run.run_dir, tmp_path / "run")
    summary = json.loads((run_dir / "summary.json").read_text())
    (run_dir / "summary.json").write_text(json.dumps({**summary, name: odd}))
    for command in ("info", "doctor"):
        invoke(command, run_dir)


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("name", ["version", "config", "columns"])
def test_a_record_of_a_checkpoint_that_is_damaged_is_one_line(
    gaussian_run: Any, tmp_path: Path, name: str, odd: Any
) -> None:
    run_dir = shutil.copytree(gaussian_run.run_dir, tmp_path / "run")
    path = run_dir / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    record = {**json.loads(checkpoint["vae_lightning"]), name: odd}
    torch.save({**checkpoint, "vae_lightning": json.dumps(record)}, path)
    assert invoke("info", run_dir).exit_code == 2


def test_every_part_of_a_checkpoint_may_be_missing_or_odd(gaussian_run: Any, tmp_path: Path) -> None:
    run_dir = shutil.copytree(gaussian_run.run_dir, tmp_path / "run")
    path = run_dir / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    for name in checkpoint:
        for odd in (None, "x", [], {}, -1):
            torch.save({**checkpoint, name: odd}, path)
            invoke("info", run_dir)
