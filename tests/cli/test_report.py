"""``vae-lightning report``: the ranking on the screen, the files in the directory, one line for a mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vae_lightning.cli.main import main
from vae_lightning.sweeps.base import Job, write_job

ROOT = Path(__file__).parents[2]


def report(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["report", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number, value in enumerate([27.5, 26.5, None]):
        settings = {"model.latent_dim": (2, 8, 512)[number]}
        words = [f"++{key}={value}" for key, value in settings.items()]
        status, error = ("finished", "") if value else ("failed", "The loss is nan.\nmore")
        write_job(Path("s", str(number)), Job(str(number), words, words, settings, status, value, error))  # type: ignore[arg-type]
        if value:
            summary = {
                "val/nelbo": value,
                "reference_measure": {"kind": "density", "rows": None},
                "data": {"name": "digits"},
            }
            Path("s", str(number), "summary.json").write_text(json.dumps(summary))
    return Path("s")


def test_ranking_failures_and_files_are_told(sweep: Path) -> None:
    result = report(sweep)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "3 jobs: 2 finished, 1 failed."
    ranks = [line for line in lines if line.startswith("| ")]
    assert [rank.split("|")[1:4] for rank in ranks] == [
        [" rank   ", " model.latent_dim ", " val/nelbo "],
        [" 1 best ", " 8                ", "    26.500 "],
        [" 2      ", " 2                ", "    27.500 "],
    ]
    assert "Job 2 failed (model.latent_dim=512): The loss is nan." in lines
    assert lines[-1] == "The report is in s: sweep.csv, sweep.md, sweep.png."
    assert {path.name for path in sweep.glob("sweep.*")} == {"sweep.csv", "sweep.md", "sweep.png"}


def test_a_later_report_replaces_an_earlier_one(sweep: Path) -> None:
    report(sweep)
    (sweep / "sweep.md").write_text("old")
    report(sweep.absolute())
    assert "1 best" in (sweep / "sweep.md").read_text()


@pytest.mark.parametrize(
    ("directory", "says"), [(".", "holds no jobs"), ("nowhere", "is no directory"), ("s/0", "is one job of a sweep")]
)
def test_a_directory_that_is_no_sweep_is_one_line(sweep: Path, directory: str, says: str) -> None:  # noqa: ARG001
    result = report(directory)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_directory_that_cannot_be_written_is_one_line_after_the_ranking(sweep: Path) -> None:
    (sweep / "sweep.csv").mkdir()
    result = report(sweep)
    assert result.exit_code == 2
    assert "1 best" in result.stdout
    assert result.stderr.startswith("error: The report could not be written: ")
    assert result.stderr.count("\n") == 1


def test_help_is_quick_and_has_an_example(tmp_path: Path) -> None:
    code = "from vae_lightning.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code, "report", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0
    assert "vae-lightning report multirun/first" in done.stdout
    assert not [name for name in ("torch", "pandas", "matplotlib") if f" {name}\n" in done.stderr]
