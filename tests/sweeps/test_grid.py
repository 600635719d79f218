"""Grids as a person types them: every job once, finished ones never again, failures told and repeated."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.sweeps.sweeping import contents, words
from vae_lightning.cli import main as cli
from vae_lightning.errors import InterruptedRun
from vae_lightning.runs import train
from vae_lightning.sweeps.base import claim, jobs_of, read_job, write_job

Sweep = Callable[..., int]


def statuses(sweep_dir: Path) -> list[str]:
    return [job.status for job in jobs_of(sweep_dir).values()]


def test_values_that_are_added_are_the_only_ones_that_run(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("s")
    assert sweep("seed=0,1", "sweep.dir=s") == 0
    assert [job.name for job in jobs_of(folder).values()] == ["seed=0", "seed=1"]
    before = {number: contents(folder / str(number)) for number in (0, 1)}
    capsys.readouterr()
    # Another order, a default written out, and Hydra's own name for the directory.
    assert sweep("objective.beta=1.0", "model.latent_dim=3,2", "seed=1,0", "hydra.sweep.dir=s") == 0
    assert {number: contents(folder / str(number)) for number in (0, 1)} == before
    assert [job.name for job in jobs_of(folder).values()][2:] == [
        "model.latent_dim=3 seed=1",
        "model.latent_dim=3 seed=0",
    ]
    assert "4 jobs in s: 2 finished before, 2 to run." in capsys.readouterr().out
    assert len(list(folder.glob("*/summary.json"))) == 4
    assert yaml.safe_load((folder / "2" / ".hydra" / "overrides.yaml").read_text())[-1] == "seed=1"


def test_a_failed_job_is_told_at_once_and_repeated_alone(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("s")
    assert sweep("data=table", "data.path=my.csv", "seed=0,1", "data.seed=0", "sweep.dir=s") == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert [line.split(":")[0] for line in lines[1:5]] == ["Job 0", "Job 0 failed", "Job 1", "Job 1 failed"]
    assert captured.err.startswith("error: 2 of 2 jobs failed, the first is job 0 (seed=0): ")
    assert "sweep.dir=" in captured.err
    assert "Traceback" not in captured.err + captured.out
    assert all("my.csv" in job.error for job in jobs_of(folder).values())
    Path("my.csv").write_text("a,b\n" + "\n".join(f"{i * 0.1},{i % 7}" for i in range(200)))
    assert sweep("data=table", "data.path=my.csv", "seed=0,1", "data.seed=0", "sweep.dir=s") == 0
    assert statuses(folder) == ["finished", "finished"]


def test_stopping_at_the_first_failure(sweep: Sweep) -> None:
    assert sweep("model.latent_dim=2,0,3", "sweep.on_error=stop", "sweep.dir=s") == 1
    assert statuses(Path("s")) == ["finished", "failed", "planned"]
    assert sweep("model.latent_dim=2,0,3", "sweep.dir=s") == 1
    assert statuses(Path("s")) == ["finished", "failed", "finished"]


def test_an_old_failure_stops_nothing(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep("model.latent_dim=0,2", "trainer.max_epochs=1", "sweep.dir=s") == 1
    killed = read_job(Path("s") / "1")
    assert killed is not None
    killed.status, killed.value = "running", None
    (Path("s") / "1" / "summary.json").unlink()
    write_job(Path("s") / "1", killed)
    assert sweep("model.latent_dim=2,3", "trainer.max_epochs=1", "sweep.on_error=stop", "sweep.dir=s") == 1
    assert statuses(Path("s")) == ["failed", "finished", "finished"]
    assert "error: 1 of 3 jobs failed, the first is job 0" in capsys.readouterr().err


def test_a_directory_whose_name_is_hard_to_quote(sweep: Sweep) -> None:
    name = "a b,c[1]{x}=é'q \\d\\"
    quoted = "'" + name.replace("'", "\\'")[:-1] + "\\\\'"
    assert sweep("seed=0,1", "trainer.max_epochs=1", f"sweep.dir={quoted}") == 0
    assert statuses(Path(name)) == ["finished", "finished"]
    assert [path.name for path in Path().iterdir()] == [name]


def test_a_sum_of_grids(sweep: Sweep) -> None:
    params = "[{likelihood.variance: 'shared,fixed'}, {objective.beta: '0.5', seed: '0,1'}]"
    assert sweep(f"hydra.sweeper.params={params}", "trainer.max_epochs=1", "sweep.dir=s") == 0
    assert [job.name for job in jobs_of(Path("s")).values()] == [
        "likelihood.variance=shared",
        "likelihood.variance=fixed",
        "objective.beta=0.5 seed=0",
        "objective.beta=0.5 seed=1",
    ]
    assert [job.settings["objective.beta"] for job in jobs_of(Path("s")).values()] == [1.0, 1.0, 0.5, 0.5]


def test_a_job_that_another_process_is_at_is_left_to_it(sweep: Sweep) -> None:
    folder = Path("s")
    assert sweep("seed=0,1", "trainer.max_epochs=1", "sweep.dir=s") == 0
    job = read_job(folder / "1")
    assert job is not None
    job.status = "running"
    write_job(folder / "1", job)
    before = contents(folder / "1")
    with claim(folder / "1"):
        assert sweep("seed=0,1", "trainer.max_epochs=1", "sweep.dir=s") == 0
        assert contents(folder / "1") == before
    assert sweep("seed=0,1", "trainer.max_epochs=1", "sweep.dir=s") == 0
    assert statuses(folder) == ["finished", "finished"]


def test_ctrl_c_ends_the_sweep_and_the_same_command_goes_on(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fit, calls = train._fit, []

    def interrupted(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise InterruptedRun("Interrupted.")
        fit(*arguments)

    monkeypatch.setattr(train, "_fit", interrupted)
    assert sweep("seed=0,1,2", "sweep.dir=s") == 1
    assert len(calls) == 2
    assert statuses(Path("s")) == ["finished", "running", "planned"]
    assert capsys.readouterr().err == (
        "error: Interrupted. The same command with the sweep's directory, sweep.dir=..., goes on.\n"
    )
    assert sweep("seed=0,1,2", "sweep.dir=s") == 0
    assert statuses(Path("s")) == ["finished"] * 3
    assert len(calls) == 4


def test_a_job_of_a_sweep_equals_the_same_job_alone(sweep: Sweep) -> None:
    """Nothing of a job is left for the next: neither random states nor threads, precision or statistics."""
    axes = ["likelihood.variance=optimal,predicted", "scheduler=cosine,none"]
    assert sweep(*axes, "model.dropout=0.2", "sweep.dir=s") == 0
    for number in (3, 1):
        job = read_job(Path("s") / str(number))
        assert job is not None
        cli.train([*words(*job.swept, "model.dropout=0.2")[1:], f"hydra.run.dir=alone{number}"])
        alone, in_sweep = (
            json.loads((folder / "summary.json").read_text())
            for folder in (Path(f"alone{number}"), Path(f"s/{number}"))
        )
        for content in (alone, in_sweep):
            del content["seconds"], content["overrides"]
        assert alone == in_sweep
        assert Path(f"alone{number}/metrics.csv").read_bytes() == Path(f"s/{number}/metrics.csv").read_bytes()


def test_hydras_own_sweeper_keeps_records_too_and_writes_over_nothing(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep("hydra/sweeper=basic", "seed=0,1", "trainer.max_epochs=1", "sweep.dir=s") == 0
    before = contents(Path("s") / "0")
    assert statuses(Path("s")) == ["finished", "finished"]
    assert sweep("hydra/sweeper=basic", "seed=5,6", "trainer.max_epochs=1", "sweep.dir=s") == 1
    assert "holds a finished job of another configuration" in capsys.readouterr().err
    kept = {name: content for name, content in contents(Path("s") / "0").items() if not name.startswith(".hydra")}
    assert kept == {name: content for name, content in before.items() if not name.startswith(".hydra")}


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["optimizer.lr=interval(0,1)"], "a grid needs single values. hydra/sweeper=optuna searches an interval."),
        (["seed=0,1", "sweep.on_error=halt"], "The 'on_error' parameter of sweep must be continue or stop. Got 'halt'"),
        (
            ["seed=0,1", "hydra.sweeper.n_jobs=2"],
            "must be 1 with launcher=basic; launcher=joblib runs jobs side by side",
        ),
        (["seed=0,1", "hydra.sweeper.n_job=2"], "There is no setting hydra.sweeper.n_job. Did you mean 'n_jobs'?"),
        (["seed=0,1", "launcher=ray"], "launcher=ray needs a package more: pip install 'vae-lightning[ray]'"),
        (
            ["seed=0,1", "launcher=basic,joblib"],
            "launcher is one for the whole sweep. Got launcher=basic,joblib",
        ),
        (["seed=0,1", "resume=s"], "resume= goes on with one run."),
        (["hydra.sweeper.params=[seed]"], "The 'params' parameter of hydra.sweeper must be {key: values} or a list"),
        (["likelihood=bernoulli,gausian"], "There is no likelihood=gausian. Did you mean 'gaussian'?"),
    ],
)
def test_mistakes_are_said_in_one_line_before_anything_runs(
    sweep: Sweep, capsys: pytest.CaptureFixture[str], overrides: list[str], says: str
) -> None:
    assert sweep(*overrides, "sweep.dir=s") == 1
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1
    assert not Path("s").exists()


@pytest.mark.parametrize("sweeper", ["grid", "optuna"])
def test_what_goes_on_runs_what_was_typed_whatever_a_record_asks_for(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, sweeper: str
) -> None:
    """A job.json may be anybody's: its overrides could name a class that runs anything."""
    typed = [f"hydra/sweeper={sweeper}", "seed=0,1", "trainer.max_epochs=1", "sweep.dir=s"]
    typed += ["hydra.sweeper.n_trials=2"] if sweeper == "optuna" else []

    def interrupted(*_: Any) -> None:
        raise InterruptedRun("Interrupted.")

    with monkeypatch.context() as patch:
        patch.setattr(train, "_fit", interrupted)
        assert sweep(*typed) == 1
    evil = ["+callbacks.evil._target_=os.mkdir", "+callbacks.evil.path=evil", "hydra.run.dir=evil"]
    for path in Path("s").glob("*/job.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "overrides": [*record["overrides"], *evil], "swept": evil}))
    assert sweep(*typed) == 0
    jobs = jobs_of(Path("s"))
    assert [job.status for job in jobs.values()] == ["finished"] * 2
    assert not any(word in job.overrides + job.swept for job in jobs.values() for word in evil)
    assert not Path("evil").exists()


@pytest.mark.parametrize("sweeper", ["grid", "optuna"])
def test_two_sweeps_of_the_same_second_have_two_directories(sweep: Sweep, sweeper: str) -> None:
    """They mixed their jobs in one. A year stands for the second; a directory that is typed stays what it is."""
    typed = [f"hydra/sweeper={sweeper}", "seed=0,1", "trainer.max_epochs=1"]
    typed += ["hydra.sweeper.n_trials=2"] if sweeper == "optuna" else []
    for _ in range(2):
        assert sweep(*typed, "sweep.dir=m/${now:%Y}") == 0
    first, second = sorted(Path("m").iterdir())
    assert second.name == f"{first.name}_2"
    before = contents(first)
    assert len(list(second.glob("*/summary.json"))) == len(list(first.glob("*/summary.json"))) == 2
    assert sweep(*typed, f"sweep.dir={first}") == 0
    assert sorted(Path("m").iterdir()) == [first, second]
    assert {name: what for name, what in contents(first).items() if "summary" in name} == {
        name: what for name, what in before.items() if "summary" in name
    }
