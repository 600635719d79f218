"""Searches: no trial lost or doubled, whoever runs, fails, is killed or comes later."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from tests.sweeps.sweeping import contents, start
from vae_lightning.sweeps.base import jobs_of
from vae_lightning.sweeps.study import open_study, sampler_of, storage_of

Sweep = Callable[..., int]
# A latent dimension of 0 is refused, and a step of 1e30 ends in NaN where no guard stops it and no better weights,
# those of the start, are kept.
SHARED = [
    "hydra/sweeper=optuna",
    "hydra.sweeper.sampler=random",
    "model.latent_dim=range(0,5)",
    "optimizer.lr=0.001,0.01,1e30",
    "callbacks.guard=null",
    "callbacks.best=null",
    "trainer.max_epochs=1",
    "sweep.dir=s",
]


def study_of(sweep_dir: Path, storage: str = "journal") -> optuna.Study:
    return open_study(storage_of(storage, sweep_dir.absolute()), "vae_lightning")


def ended(sweep_dir: Path) -> list[int]:
    return [number for number, job in jobs_of(sweep_dir).items() if job.status in ("finished", "failed")]


def wait_for(sweep_dir: Path, count: int, process: subprocess.Popen[str]) -> None:
    give_up = time.monotonic() + 240
    while len(ended(sweep_dir)) < count and time.monotonic() < give_up and process.poll() is None:
        time.sleep(0.02)
    assert len(ended(sweep_dir)) >= count, process.communicate()[0] if process.poll() is not None else "too slow"


@pytest.mark.parametrize(
    ("storage", "count", "killed_after"),
    [
        ("journal", 10, 3),
        pytest.param("journal", 30, 8, marks=pytest.mark.long),
        pytest.param("sqlite", 30, 8, marks=pytest.mark.long),
    ],
)
def test_processes_share_a_study_one_is_killed_and_another_goes_on(
    storage: str, count: int, killed_after: int, sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SHARED, f"hydra.sweeper.storage={storage}", f"hydra.sweeper.n_trials={count}"]
    folder = tmp_path / "s"
    first, second = start(*words, cwd=tmp_path), start(*words, cwd=tmp_path)
    wait_for(folder, killed_after, second)
    os.killpg(second.pid, signal.SIGKILL)
    second.communicate()
    done = {number: contents(folder / str(number)) for number in ended(folder)}
    statuses = [sweep(*words)]
    out, _ = first.communicate(timeout=400)
    assert [*statuses, first.returncode] == [1, 1], out  # some failed, as planted
    assert all("jobs failed, the first is job" in said for said in (capsys.readouterr().err, out))

    trials, jobs = study_of(folder, storage).trials, jobs_of(folder)
    assert [trial.number for trial in trials] == list(range(count)) == list(jobs)
    assert {number: contents(folder / str(number)) for number in done} == done
    # Only what the killed process was at was begun twice.
    met = set()
    assert sum(job.attempts for job in jobs.values()) <= count + 1
    for trial, job in zip(trials, jobs.values(), strict=True):
        assert job.swept == [
            f"++optimizer.lr={trial.params['optimizer.lr']}" if "lr" in word else word for word in job.swept
        ]
        assert job.settings["model.latent_dim"] == trial.params["model.latent_dim"]
        planted = (trial.params["model.latent_dim"] == 0, trial.params["optimizer.lr"] == 1e30)
        assert trial.state == (TrialState.FAIL if any(planted) else TrialState.COMPLETE)
        if any(planted):
            assert trial.user_attrs["error"] == job.error != ""
            assert job.error.startswith("The 'latent_dim' parameter") == planted[0]
            met.add(planted[0])
        else:
            summary = json.loads((folder / str(trial.number) / "summary.json").read_text())
            assert trial.value == summary["val/nelbo"] == job.value
    assert met == {True, False}, "both kinds of failure were met"


def test_a_finished_search_has_nothing_to_do_and_more_trials_extend_it(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["hydra/sweeper=optuna", "optimizer.lr=tag(log,interval(1e-3,1e-1))", "trainer.max_epochs=1", "sweep.dir=s"]
    assert sweep(*words, "hydra.sweeper.n_trials=2") == 0
    before = contents(Path("s"))
    assert sweep(*words, "hydra.sweeper.n_trials=2") == 0
    jobs = {name: content for name, content in contents(Path("s")).items() if name[0].isdigit()}
    assert jobs == {name: content for name, content in before.items() if name[0].isdigit()}
    assert sweep(*words, "hydra.sweeper.n_trials=3") == 0
    trials = study_of(Path("s")).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert len({trial.params["optimizer.lr"] for trial in trials}) == 3
    best = min(trials, key=lambda trial: trial.value or 0.0)
    assert f"Best, trial {best.number}: val/nelbo {best.value:.3f} with optimizer.lr=" in capsys.readouterr().out
    # Trials with other settings are no part of it.
    assert sweep(*words, "hydra.sweeper.n_trials=4", "model.latent_dim=3") == 1
    assert "repeat its settings, or take another sweep.dir." in capsys.readouterr().err


@pytest.mark.parametrize("storage", ["journal", "memory"])
def test_hopeless_trials_are_pruned_by_what_they_report(storage: str, sweep: Sweep) -> None:
    status = sweep(
        "hydra/sweeper=optuna",
        "optimizer.lr=choice(0.003,0.00301,0.00302,0.9)",
        "hydra.sweeper.sampler=grid",
        "hydra.sweeper.pruner=median",
        "hydra.sweeper.pruner_options={n_startup_trials: 2, n_warmup_steps: 2}",
        f"hydra.sweeper.storage={storage}",
        "hydra.sweeper.seed=5",
        "trainer.max_epochs=6",
        "sweep.dir=s",
    )
    assert status == 0
    jobs = jobs_of(Path("s"))
    pruned = {job.settings["optimizer.lr"] for job in jobs.values() if job.status == "pruned"}
    assert 0.9 in pruned
    assert {job.status for job in jobs.values()} == {"finished", "pruned"}
    if storage == "journal":
        for trial in study_of(Path("s")).trials:
            reported = pd.read_csv(f"s/{trial.number}/metrics.csv")["val/nelbo"]
            told = list(trial.intermediate_values.values())
            assert told == pytest.approx(list(reported)[: len(told)])
            assert (trial.state == TrialState.PRUNED) == (jobs[trial.number].status == "pruned")
            assert len(told) == 6 if trial.state == TrialState.COMPLETE else 3 <= len(told) < 6
            assert trial.params["optimizer.lr"] < 0.9 or len(told) == 3, "two epochs of grace"


def test_several_directions(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    status = sweep(
        "hydra/sweeper=optuna",
        "model.hidden_dims=[4],[8],[16]",
        "hydra.sweeper.metrics=[val/nelbo,parameters]",
        "hydra.sweeper.sampler=nsgaii",
        "hydra.sweeper.n_trials=5",
        "trainer.max_epochs=1",
        "sweep.dir=s",
    )
    assert status == 0
    study = study_of(Path("s"))
    for trial in study.trials:
        summary = json.loads(Path(f"s/{trial.number}/summary.json").read_text())
        assert trial.values == [summary["val/nelbo"], summary["parameters"]]
    assert capsys.readouterr().out.count("Best, trial") == len(study.best_trials)


def test_what_cannot_be_compared_counts_as_failed(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    status = sweep(
        "hydra/sweeper=optuna",
        "data=digits",
        "likelihood=bernoulli,continuous_bernoulli",
        "hydra.sweeper.sampler=grid",
        "trainer.max_epochs=1",
        "sweep.dir=s",
    )
    assert status == 0
    trials = study_of(Path("s")).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.FAIL]
    assert "These cannot be compared." in trials[1].user_attrs["error"]
    assert {word.split(",")[0] for word in trials[1].user_attrs["error"].split(" a ")[1:]} == {"probability", "density"}
    assert "Trial 1 counts as failed: It measures a" in capsys.readouterr().out


def test_a_search_touches_no_other_sweeps_jobs(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep("seed=0,1", "trainer.max_epochs=1", "sweep.dir=s") == 0
    before = contents(Path("s") / "0")
    search = ["hydra/sweeper=optuna", "optimizer.lr=interval(0.001,0.01)", "hydra.sweeper.n_trials=1", "sweep.dir=s"]
    assert sweep(*search, "trainer.max_epochs=1") == 1
    assert "is not of this study's. Give the search a directory of its own" in capsys.readouterr().err
    assert contents(Path("s") / "0") == before
    memory = [*search[:-1], "hydra.sweeper.storage=memory", "hydra.sweeper.study_name=once", "sweep.dir=m"]
    assert sweep(*memory, "trainer.max_epochs=1") == 0


def test_other_choices_are_refused_before_a_trial_is_begun(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["hydra/sweeper=optuna", "trainer.max_epochs=1", "sweep.dir=s"]
    assert sweep(*words, "model.latent_dim=2,4", "hydra.sweeper.n_trials=1") == 0
    assert sweep(*words, "model.latent_dim=2,4,8", "hydra.sweeper.n_trials=3") == 1
    assert "has searched model.latent_dim otherwise" in capsys.readouterr().err
    assert len(study_of(Path("s")).trials) == 1
    assert sweep(*words, "model.latent_dim=2,4", "hydra.sweeper.n_trials=2") == 0


def test_a_choice_that_does_not_compose_is_a_failed_trial(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["hydra/sweeper=optuna", "hydra.sweeper.sampler=grid", "scheduler=choice(none,foo)", "sweep.dir=s"]
    assert sweep(*words, "trainer.max_epochs=1") == 0
    states = {trial.params["scheduler"]: trial.state for trial in study_of(Path("s")).trials}
    assert states == {"none": TrialState.COMPLETE, "foo": TrialState.FAIL}
    assert "counts as failed: " in capsys.readouterr().out


def test_a_torn_journal_is_mended(sweep: Sweep) -> None:
    words = ["hydra/sweeper=optuna", "optimizer.lr=interval(0.001,0.01)", "trainer.max_epochs=1", "sweep.dir=s"]
    assert sweep(*words, "hydra.sweeper.n_trials=2") == 0
    journal = Path("s/study.journal")
    journal.write_bytes(journal.read_bytes()[:-25])
    assert sweep(*words, "hydra.sweeper.n_trials=3") == 0
    assert [trial.state for trial in study_of(Path("s")).trials] == [TrialState.COMPLETE] * 3


def test_a_finished_job_without_a_summary_counts_as_failed(sweep: Sweep) -> None:
    words = ["hydra/sweeper=optuna", "optimizer.lr=interval(0.001,0.01)", "trainer.max_epochs=1", "sweep.dir=s"]
    assert sweep(*words, "hydra.sweeper.n_trials=1") == 0
    journal = Path("s/study.journal")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b'"state":1' not in line))  # it was never told
    Path("s/0/summary.json").unlink()
    assert sweep(*words, "hydra.sweeper.n_trials=2") == 0
    assert [trial.state for trial in study_of(Path("s")).trials] == [TrialState.FAIL, TrialState.COMPLETE]


@pytest.mark.parametrize("drawn", [0, 1, 2])
def test_a_trial_that_was_killed_while_it_was_asked_is_gone_on_with(drawn: int, sweep: Sweep) -> None:
    words = [
        "hydra/sweeper=optuna",
        "optimizer.lr=interval(0.001,0.01)",
        "model.latent_dim=range(1,9)",
        "trainer.max_epochs=1",
    ]
    assert sweep(*words, "hydra.sweeper.n_trials=1", "sweep.dir=s") == 0
    study = study_of(Path("s"))
    study.sampler = sampler_of("tpe", {}, 0, 1, {})
    trial = study.ask()
    draws = [
        lambda: trial.suggest_int("model.latent_dim", 1, 8),
        lambda: trial.suggest_float("optimizer.lr", 0.001, 0.01),
    ]
    for draw in draws[:drawn]:
        draw()
    assert sweep(*words, "hydra.sweeper.n_trials=2", "sweep.dir=s") == 0
    trials = study_of(Path("s")).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert list(jobs_of(Path("s"))) == [0, 1]
    if drawn == 0:
        assert sweep(*words, "hydra.sweeper.n_trials=2", "sweep.dir=whole") == 0
        assert [trial.params for trial in trials] == [trial.params for trial in study_of(Path("whole")).trials]


def test_a_search_that_stops_at_a_failure_ends_there(sweep: Sweep) -> None:
    words = ["hydra/sweeper=optuna", "hydra.sweeper.sampler=grid", "hydra.sweeper.seed=5", "model.latent_dim=2,0,3,4"]
    assert sweep(*words, "trainer.max_epochs=1", "sweep.on_error=stop", "sweep.dir=s") == 1
    states = [trial.state for trial in study_of(Path("s")).trials]
    assert states[-1] == TrialState.FAIL
    assert states.count(TrialState.FAIL) == 1
    assert len(states) < 4, "seed 5 keeps something for after the failure"
    assert sweep(*words, "trainer.max_epochs=1", "sweep.dir=s") == 1
    assert len(study_of(Path("s")).trials) == 4


def test_the_grid_of_a_search_ends_with_the_grid(sweep: Sweep) -> None:
    words = ["hydra/sweeper=optuna", "hydra.sweeper.sampler=grid", "seed=0,1", "likelihood.variance=shared,fixed"]
    assert sweep(*words, "trainer.max_epochs=1", "sweep.dir=s") == 0
    assert {tuple(trial.params.values()) for trial in study_of(Path("s")).trials} == {
        (seed, variance) for seed in (0, 1) for variance in ("shared", "fixed")
    }
    assert len(jobs_of(Path("s"))) == 4


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ([], "There is nothing to search"),
        (["seed=0,1", "hydra.sweeper.sampler=tpee"], "Did you mean 'tpe'?"),
        (["seed=0,1", "hydra.sweeper.n_trials=0"], "The 'n_trials' parameter of hydra.sweeper must be a whole number"),
        (["seed=0,1", "hydra.sweeper.storage=memory", "launcher=joblib"], "must be one that processes can share"),
        (
            ["seed=0,1", "hydra.sweeper.metrics=[val/nelbo,epochs]", "hydra.sweeper.pruner=median"],
            "that is what jobs report",
        ),
        (
            ["seed=0,1", "hydra.sweeper.metrics=[val/nelbo,epochs]", "hydra.sweeper.directions=[minimize]"],
            "for each of the metrics",
        ),
        (["seed=0,1", "hydra.sweeper.seed=a"], "The 'seed' parameter of hydra.sweeper must be a whole number. Got 'a'"),
        (["hydra.sweeper.params=a"], "The 'params' parameter of hydra.sweeper must be {key: sweep}. Got 'a' instead."),
        (["seed=interval(0,1)", "hydra.sweeper.sampler=grid"], "a grid needs single values or a range"),
        (
            ["seed=0,1", "hydra.sweeper.metrics=test/nl"],
            "There is no metric test/nl to search by. Did you mean 'test/nll'?",
        ),
    ],
)
def test_mistakes_are_said_in_one_line(
    sweep: Sweep, capsys: pytest.CaptureFixture[str], overrides: list[str], says: str
) -> None:
    assert sweep("hydra/sweeper=optuna", *overrides, "trainer.max_epochs=1", "sweep.dir=s") == 1
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1
