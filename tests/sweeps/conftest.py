"""Sweeps in this process, and sweeps on disk that nobody trained."""

import json
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from joblib.externals.loky import get_reusable_executor

from tests.sweeps.sweeping import words
from vae_lightning.cli import main as cli
from vae_lightning.inference.reference import ReferenceMeasure
from vae_lightning.sweeps import figures
from vae_lightning.sweeps.base import Job, write_job

MakeJob = Callable[..., Path]
DENSITY = ReferenceMeasure("density", None)


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``sweep(*overrides)``: in this process, in an empty directory, with an empty sweep.png; returns the status."""
    monkeypatch.chdir(tmp_path)
    # Half of the time of so small a sweep; test_report draws it.
    monkeypatch.setattr(figures, "render_sweep", lambda _: b"")
    threads = torch.get_num_threads()

    def run(*overrides: str, without: Collection[str] = ()) -> int:
        try:
            cli.train(words(*overrides, without=without))
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            torch.set_flush_denormal(False)
            torch.set_num_threads(threads)
            if "launcher=joblib" in overrides:
                get_reusable_executor().shutdown(kill_workers=True)  # they would wait for more
        return 0

    return run


@pytest.fixture
def sweep_dir(tmp_path: Path) -> Path:
    return tmp_path / "sweep"


@pytest.fixture
def make_job(sweep_dir: Path) -> MakeJob:
    """``make_job(number, {key: value}, val/nelbo, status=..., measure=..., rows=...)``: its directory."""

    def make(
        number: int,
        swept: dict[str, Any],
        value: float | None = None,
        *,
        status: str = "finished",
        measure: ReferenceMeasure = DENSITY,
        rows: str = "aaaa",
        error: str = "",
        typed: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
    ) -> Path:
        run_dir = sweep_dir / str(number)
        words = [f"{'++' if '.' in key else ''}{key}={value}" for key, value in swept.items()]
        given = {**(typed or {}), **swept}
        job = Job(
            fingerprint=f"{number:016x}",
            overrides=[*(f"{key}={value}" for key, value in (typed or {}).items()), *words],
            swept=words,
            settings={"model.activation": "relu", "seed": 0, **given, **(settings or {})},
            status=status,  # type: ignore[arg-type]
            value=value,
            error=error,
            seconds=1.5 + number,
        )
        write_job(run_dir, job)
        if status == "finished" and value is not None:
            summary = {
                "val/nelbo": value,
                "reference_measure": asdict(measure),
                "test": {
                    "nelbo": value + 0.5,
                    "nll": value + 0.25,
                    "baseline": 140.0,
                    "control": 130.0,
                    "control_words": "a Chow-Liu tree",
                    "active_units": number % 3,
                },
                "epochs": 7,
                "parameters": 1000 + number,
                "seconds": {"training": 1.25, "evaluation": 0.125},
                "warnings": [],
                "data": {"name": "digits", "fingerprint": f"{number:04x}", "rows_fingerprint": rows},
                "versions": {"python": "3.11"},
            }
            (run_dir / "summary.json").write_text(json.dumps(summary))
        return run_dir

    return make


@pytest.fixture
def grid(make_job: MakeJob) -> dict[int, tuple[int, int, float]]:
    """Three latent dimensions by three seeds, where the seed matters more; number → (latent_dim, seed, val/nelbo)."""
    values = [120.25, 140.5, 131.0, 118.125, 139.0, 128.5, 119.5, 139.75, 130.75]
    jobs = {n: ((2, 8, 4)[n // 3], n % 3, value) for n, value in enumerate(values)}
    for number, (latent_dim, seed, value) in jobs.items():
        make_job(number, {"model.latent_dim": latent_dim, "seed": seed}, value)
    return jobs
