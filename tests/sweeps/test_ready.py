"""The sweeps under conf/sweep: found by glob, and run, with one seed and one epoch each."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.sweeps.sweeping import ROOT
from vae_lightning.sweeps.base import jobs_of

NAMES = sorted(path.stem for path in (ROOT / "conf" / "sweep").glob("*.yaml"))
JOBS = {"beta": 5, "latent_dim": 4, "learning_rate": 2, "likelihood": 6}
"""As each yaml's comment says, for one seed; two trials of the search."""


def test_every_ready_sweep_is_known_here() -> None:
    assert sorted(JOBS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_ready_sweep_runs(name: str, sweep: Callable[..., int]) -> None:
    content = yaml.safe_load((ROOT / "conf" / "sweep" / f"{name}.yaml").read_text())
    is_search = "n_trials" in content["hydra"]["sweeper"]
    more = ["hydra.sweeper.n_trials=2"] if is_search else ["seed=0"]
    params = content["hydra"]["sweeper"]["params"]
    swept = {key for grid in (params if isinstance(params, list) else [params]) for key in grid}
    tiny = ["data=digits", "data.batch_size=256", "trainer.max_epochs=1", "sweep.dir=s"]
    status = sweep(f"sweep={name}", *tiny, *more, without=swept - {"seed"})
    assert status == 0
    jobs = jobs_of(Path("s"))
    assert [job.status for job in jobs.values()] == ["finished"] * JOBS[name]
    assert {job.settings["seed"] for job in jobs.values()} == {0}
    assert (Path("s") / "sweep.md").exists()
