"""job.json and summary.json that somebody else wrote: the other jobs keep their numbers, and nothing is run over."""

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import strategies as st

from tests.conftest import Run
from tests.fuzz.commands import assert_told, command
from tests.fuzz.fuzzing import attempt, budgets, empty_folder, files_in, fuzz
from tests.fuzz.json_trees import FOREIGN, documents
from tests.fuzz.json_trees import Path as Place
from vae_lightning.runs.conclusion import read_summary, recorded_course, recorded_table
from vae_lightning.sweeps import figures
from vae_lightning.sweeps.base import Job, write_job
from vae_lightning.sweeps.work import work_on

VALUES = [1.25, 0.5, 2.75]
BEGUN = ("planned", "failed", "pruned", "running")
"""States of a job that may be run, again or for the first time."""


@dataclass(frozen=True)
class Changes:
    """What became of the last of three jobs.

    Attributes:
        file: which of its files is another one.
        content: of that file.
        place: what in it was changed; () may be anything, None is nothing.
        draws: whether the picture is drawn, too, which takes longer than everything else.
    """

    file: str
    content: bytes
    place: Place | None
    draws: bool

    def __repr__(self) -> str:
        return f"{self.file}, changed {self.place}: {self.content[:2000]!r}"


def _job(number: int) -> Job:
    overrides = [f"model.latent_dim={2 + number % 2}", f"seed={number // 2}", "likelihood=gaussian"]
    settings = {"model.latent_dim": 2 + number % 2, "seed": number // 2, "likelihood": "gaussian"}
    return Job(f"{number:016x}", overrides, overrides[:2], settings, "finished", VALUES[number], seconds=1.5)


@pytest.mark.parametrize("examples", budgets(80))
def test_jobs(examples: int, tmp_path: Path, small_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    summaries = [{**small_run.summary, "val/nelbo": value} for value in VALUES]
    trees = {"job.json": asdict(_job(2)), "summary.json": summaries[2]}
    pictures = {True: figures.render_sweep, False: lambda _: b""}
    cases = st.sampled_from(sorted(trees)).flatmap(
        lambda file: st.builds(
            lambda document, rare: Changes(file, *document, rare == 0), documents(trees[file]), st.integers(0, 40)
        )
    )

    def check(change: Changes) -> str:
        monkeypatch.setattr(figures, "render_sweep", pictures[change.draws])
        with empty_folder(tmp_path) as folder:
            sweep = folder / "sweep"
            for number in range(3):
                write_job(sweep / str(number), _job(number))
                (sweep / str(number) / "summary.json").write_text(json.dumps(summaries[number]))
            (sweep / "2" / change.file).write_bytes(change.content)
            before = files_in(folder)
            done = command("report", str(sweep))
            assert FOREIGN not in sys.modules, "code that a record names was run"
            written = files_in(folder) - before
            assert written <= {"sweep/sweep.csv", "sweep/sweep.md", "sweep/sweep.png"}
            if done.status:
                assert_told(done)
                raise AssertionError(f"two sound jobs are not reported: {done.err}")
            table = pd.read_csv(sweep / "sweep.csv").set_index("job")
            found = table.loc[[0, 1], "val/nelbo"].tolist()
            assert found == VALUES[:2], f"the numbers of sound jobs: {found}"
            text = (sweep / "sweep.md").read_text(encoding="utf-8")
            assert 2 in table.index or "job.json of 2 cannot be read" in text, "a job is not mentioned"
            if change.place is None:
                assert table.loc[2, "val/nelbo"] == VALUES[2]
            return _claim(sweep / "2", change)

    fuzz("jobs", cases, check, examples)


def _claim(run_dir: Path, change: Changes) -> str:
    """Whoever starts the same sweep again loses no finished job."""
    (run_dir / "checkpoints").mkdir()
    kept = run_dir / "checkpoints" / "best.ckpt"
    kept.write_bytes(b"weights")
    came = attempt(lambda: work_on(run_dir, _job(2), lambda _: 9.0, stop_since=None, repeat=False))
    if change.file == "summary.json" or change.place is None:
        assert came == VALUES[2]
        assert kept.exists(), "a finished job was cleared away"
        return "kept"
    if change.place and change.place[0] != "fingerprint" and json.loads(change.content).get("status") not in BEGUN:
        assert kept.exists(), "a finished job was cleared away"
    return "kept" if kept.exists() else "run again"


@pytest.mark.parametrize("examples", budgets(120))
def test_summaries(examples: int, tmp_path: Path, small_run: Run) -> None:
    sound = small_run.summary

    def check(document: tuple[bytes, Place | None]) -> str:
        content, place = document
        with empty_folder(tmp_path) as folder:
            shutil.copytree(small_run.run_dir / "checkpoints", folder / "checkpoints")
            shutil.copy(small_run.run_dir / "metrics.csv", folder)
            (folder / "summary.json").write_bytes(content)
            before = files_in(folder)
            summary: Any = attempt(lambda: read_summary(folder))
            attempt(lambda: recorded_table(summary))
            attempt(lambda: recorded_course(folder, summary, 4, 1.0))
            done = command("info", str(folder), *(["--json"] if len(content) % 2 else []))
            assert files_in(folder) == before
            if place is None:
                assert f"{sound['test']['nll']:.3f}"[:-1] in done.out
            if done.status:
                assert place is not None
                assert_told(done)
            return f"status {done.status}"

    fuzz("summaries", documents(sound), check, examples)
