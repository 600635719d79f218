"""``launcher=stacked``: every job leaves what it leaves alone, whoever trains beside it."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.sweeps.sweeping import contents
from vae_lightning.sweeps.base import jobs_of
from vae_lightning.sweeps.stacked import deal
from vae_lightning.training import stack
from vae_lightning.training.stack import Stack

Sweep = Callable[..., int]
HERE = ["launcher=stacked", "hydra.launcher.processes=1"]
SMOOTH = "model.activation=tanh"
"""Where a ReLU's input is 0 but for rounding, two ways of adding up part."""


def checkpoint(run_dir: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    return content


def tensors(run_dir: Path) -> dict[str, torch.Tensor]:
    """Weights, and what Adam remembers of each."""
    content = checkpoint(run_dir)
    state = content["optimizer_states"][0]["state"]
    return content["state_dict"] | {
        f"{number}.{name}": state[number][name] for number in state for name in state[number]
    }


def check_equal(one: Path, other: Path, atol: float = 1e-5) -> None:
    """The same files, and in them the same numbers."""
    names = {path.relative_to(one) for path in one.rglob("*") if "tfevents" not in path.name}
    assert names == {path.relative_to(other) for path in other.rglob("*") if "tfevents" not in path.name}
    ours, theirs = tensors(one), tensors(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=atol, msg=lambda m, n=name: f"{n}: {m}")
    ours, theirs = checkpoint(one), checkpoint(other)
    assert ours.keys() == theirs.keys()
    assert (ours["epoch"], ours["global_step"]) == (theirs["epoch"], theirs["global_step"])
    rates = [[scheduler["_last_lr"] for scheduler in content["lr_schedulers"]] for content in (ours, theirs)]
    assert rates[0] == rates[1]
    curves = [pd.read_csv(run_dir / "metrics.csv") for run_dir in (one, other)]
    pd.testing.assert_frame_equal(*curves, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "words",
    [
        ["optimizer.lr=0.01,0.003"],
        ["objective.beta=0.5,2", "objective.warmup=linear", "objective.warmup_epochs=2"],
        ["optimizer=adamw", "optimizer.weight_decay=0.1,0.01", "scheduler=exponential"],
        ["optimizer.weight_decay=0.1,0", "likelihood.variance=fixed", "scheduler=plateau"],
        ["likelihood.variance=fixed", "likelihood.scale=1.0,0.5", "scheduler=none,cosine"],
        ["likelihood=laplace", "objective=iwae", "objective.num_samples=3", "prior=mixture"],
        ["data=correlated_bits", "likelihood=bernoulli", "data.batch_size=50", "trainer.gradient_clip_val=0.5"],
    ],
)
def test_every_member_is_what_it_is_alone(words: list[str], sweep: Sweep, tmp_path: Path) -> None:
    words = ["seed=0,1", *words, SMOOTH, "trainer.max_epochs=11", "callbacks.early_stopping=null"]
    assert sweep(*words, "sweep.dir=alone") == 0
    taken = count_steps()
    with taken:
        assert sweep(*words, *HERE, "sweep.dir=stacked") == 0
    jobs = jobs_of(tmp_path / "stacked")
    assert taken.steps == sum(checkpoint(tmp_path / "alone" / str(number))["global_step"] for number in jobs)
    for number in jobs:
        check_equal(tmp_path / "stacked" / str(number), tmp_path / "alone" / str(number))


class count_steps:  # noqa: N801 - read as a verb
    """Counts the steps that are taken in stacks, each once for every member."""

    def __enter__(self) -> None:
        self.steps, self._take = 0, Stack.take

        def take(stack: Stack, works: Any, ahead: int) -> int:
            count = self._take(stack, works, ahead)
            self.steps += count * len(works)
            return count

        Stack.take = take  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        Stack.take = self._take  # type: ignore[method-assign]


def test_a_last_batch_of_one_row_more(sweep: Sweep, tmp_path: Path) -> None:
    """113 training rows, of which the last does not make a batch of its own."""
    rows = np.random.default_rng(0).normal(size=(161, 4)) @ np.random.default_rng(1).normal(size=(4, 4))
    pd.DataFrame(rows, columns=list("abcd")).to_csv("my.csv", index=False)
    words = ["data=table", "data.path=my.csv", "data.batch_size=16", "seed=0,1", SMOOTH, "trainer.max_epochs=6"]
    assert sweep(*words, "sweep.dir=alone") == 0
    assert sweep(*words, *HERE, "sweep.dir=stacked") == 0
    for number in (0, 1):
        check_equal(tmp_path / "stacked" / str(number), tmp_path / "alone" / str(number))


def test_one_that_breaks_leaves_the_others_as_they_are(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["seed=0,1", "optimizer.lr=0.01,1e30", SMOOTH, "trainer.max_epochs=4"]
    assert sweep(*words, "sweep.dir=alone") == 1
    assert sweep(*words, *HERE, "sweep.dir=stacked") == 1
    jobs = jobs_of(tmp_path / "stacked")
    assert [job.status for job in jobs.values()] == ["finished", "failed"] * 2
    errors = [jobs_of(tmp_path / folder)[1].error.partition("\n")[0] for folder in ("alone", "stacked")]
    assert errors[0] == errors[1]
    for number in (0, 2):
        check_equal(tmp_path / "stacked" / str(number), tmp_path / "alone" / str(number))
    assert "2 of 4 jobs failed" in capsys.readouterr().err


def test_what_stops_early_makes_room_for_the_next(sweep: Sweep, tmp_path: Path) -> None:
    """More jobs than places, which end at different epochs."""
    patience = ["callbacks.early_stopping.patience=2", "callbacks.early_stopping.min_delta=0.05"]
    words = ["seed=0,1,2,3,4", *patience, "optimizer.lr=0.02", SMOOTH, "trainer.max_epochs=20"]
    assert sweep(*words, "sweep.dir=alone") == 0
    assert sweep(*words, *HERE, "hydra.launcher.members=2", "sweep.dir=stacked") == 0
    epochs = [checkpoint(tmp_path / "stacked" / str(number))["epoch"] for number in range(5)]
    assert len(set(epochs)) > 1
    assert epochs == [checkpoint(tmp_path / "alone" / str(number))["epoch"] for number in range(5)]
    for number in range(5):
        check_equal(tmp_path / "stacked" / str(number), tmp_path / "alone" / str(number))


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("model.dropout=0.2", "dropout"),
        ("model.normalization=batch", "batch normalisation"),
        ("likelihood.variance=optimal", "closed form"),
        ("trainer.gradient_clip_algorithm=value", "clipped by value"),
        ("trainer.fast=false", "trainer.fast"),
        ("trainer.limit_train_batches=2", "limit_train_batches"),
    ],
)
def test_what_cannot_be_stacked_runs_as_ever(word: str, reason: str, sweep: Sweep, tmp_path: Path) -> None:
    words = ["seed=0,1", word, "trainer.gradient_clip_val=0.5", "trainer.max_epochs=1"]
    assert sweep(*words, "sweep.dir=alone") == 0
    taken = count_steps()
    with taken:
        assert sweep(*words, *HERE, "sweep.dir=stacked") == 0
    assert taken.steps == 0
    for number in (0, 1):
        assert reason in (tmp_path / "stacked" / str(number) / "train.log").read_text()
        check_equal(tmp_path / "stacked" / str(number), tmp_path / "alone" / str(number), atol=0)


def test_shapes_that_differ_make_stacks_of_their_own(sweep: Sweep, tmp_path: Path) -> None:
    words = ["seed=0,1", "model.latent_dim=2,3", SMOOTH, "trainer.max_epochs=2"]
    assert sweep(*words, "sweep.dir=alone") == 0
    assert sweep(*words, *HERE, "sweep.dir=stacked") == 0
    for number in range(4):
        check_equal(tmp_path / "stacked" / str(number), tmp_path / "alone" / str(number))


def test_ctrl_c_ends_all_members_and_the_same_command_goes_on(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["seed=0,1,2", SMOOTH, "trainer.max_epochs=6", "callbacks.early_stopping=null"]
    take, calls = Stack.take, []

    def interrupted(*given: Any) -> int:
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return take(*given)

    monkeypatch.setattr(Stack, "take", interrupted)
    assert sweep(*words, *HERE, "hydra.launcher.members=2", "sweep.dir=s") == 1
    assert "Interrupted." in capsys.readouterr().err
    assert [job.status for job in jobs_of(tmp_path / "s").values()] == ["running", "running", "planned"]
    monkeypatch.setattr(Stack, "take", take)
    assert sweep(*words, *HERE, "hydra.launcher.members=2", "sweep.dir=s") == 0
    assert capsys.readouterr().out.count("Going on with job") == 2
    assert sweep(*words, "sweep.dir=alone") == 0
    for number in range(3):
        check_equal(tmp_path / "s" / str(number), tmp_path / "alone" / str(number))
    done = contents(tmp_path / "s" / "0")
    assert sweep(*words, *HERE, "sweep.dir=s") == 0
    assert contents(tmp_path / "s" / "0") == done


def test_the_process_is_left_as_it_was(sweep: Sweep) -> None:
    """Loggers, threads and streams belong to all; jobs that take turns change them in turn."""
    log, threads, state = logging.getLogger("vae_lightning"), torch.get_num_threads(), torch.get_rng_state()
    before = (list(log.handlers), log.level, log.propagate)
    assert sweep("seed=0,1", *HERE, "trainer.max_epochs=1", "sweep.dir=s") == 0
    assert (list(log.handlers), log.level, log.propagate) == before
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    logs = [(Path("s") / str(number) / "train.log").read_text() for number in (0, 1)]
    assert [text.count(", seed ") for text in logs] == [1, 1]
    assert [text.count("Model: ") for text in logs] == [1, 1]


def test_a_search_asks_for_as_many_as_run_side_by_side(sweep: Sweep, tmp_path: Path) -> None:
    words = [
        "hydra/sweeper=optuna",
        "hydra.sweeper.sampler=random",
        "hydra.sweeper.n_trials=5",
        "hydra.sweeper.n_jobs=3",
    ]
    axes = ["optimizer.lr=interval(0.001,0.02)", SMOOTH, "trainer.max_epochs=2", "hydra.sweeper.pruner=median"]
    taken = count_steps()
    with taken:
        assert sweep(*words, *axes, *HERE, "sweep.dir=s") == 0
    jobs = jobs_of(tmp_path / "s")
    assert len(jobs) == 5
    assert taken.steps >= 5 * 4
    for number, job in jobs.items():
        if job.status == "finished":
            alone = f"optimizer.lr={job.settings['optimizer.lr']}"
            assert sweep("seed=0", alone, SMOOTH, "trainer.max_epochs=2", f"sweep.dir=alone{number}") == 0
            check_equal(tmp_path / "s" / str(number), tmp_path / f"alone{number}" / "0")


def test_a_step_that_does_not_compile_is_taken_all_the_same(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Callable[..., Any]:
        def step(*_: Any) -> Any:
            raise RuntimeError("There is no compiler.")

        return step

    monkeypatch.setattr(stack, "WORTH_COMPILING", 0)
    monkeypatch.setattr(torch, "compile", broken)
    words = ["seed=0,1", SMOOTH, "trainer.max_epochs=2"]
    assert sweep(*words, *HERE, "sweep.dir=stacked") == 0
    assert sweep(*words, "sweep.dir=alone") == 0
    check_equal(tmp_path / "stacked" / "0", tmp_path / "alone" / "0")


def share_apart(one: Path, other: Path) -> float:
    """Of two runs' weights, how many differ by more than 1e-5."""
    pairs = zip(*(checkpoint(run_dir)["state_dict"].values() for run_dir in (one, other)), strict=True)
    apart = torch.cat([((a - b).abs() > 1e-5 + 1e-5 * b.abs()).flatten() for a, b in pairs])
    return float(apart.double().mean())


@pytest.mark.long
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_the_compiled_step_is_the_same_but_for_rounding(
    likelihood: str,
    sweep: Sweep,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Adam makes whole steps of gradients that are 0 but for rounding: of a bit that half of the first batch have."""
    monkeypatch.setattr(stack, "WORTH_COMPILING", 0)
    is_bits = likelihood == "bernoulli"
    data = ["data=correlated_bits", "data.num_train=500", "data.batch_size=50"] if is_bits else []
    words = ["seed=0,1,2", f"likelihood={likelihood}", *data, SMOOTH, f"trainer.max_epochs={5 if is_bits else 12}"]
    assert sweep(*words, "sweep.dir=alone") == 0
    assert sweep(*words, *HERE, "sweep.dir=stacked") == 0
    assert "not compiled" not in capsys.readouterr().out
    assert 40 <= checkpoint(tmp_path / "alone" / "0")["global_step"] <= 60
    for number in range(3):
        one, other = tmp_path / "stacked" / str(number), tmp_path / "alone" / str(number)
        assert share_apart(one, other) < 0.2
        curves = [pd.read_csv(run_dir / "metrics.csv")["val/nelbo"] for run_dir in (one, other)]
        pd.testing.assert_series_equal(*curves, rtol=1e-5)


@pytest.mark.long
def test_members_in_two_processes_part_from_those_alone_as_rounding_parts_these(sweep: Sweep, tmp_path: Path) -> None:
    """What rounding comes to in 1,200 steps is seen by a learning rate whose last digit differs."""
    words = ["data=digits", "likelihood=bernoulli", "seed=0,1,2,3", "data.seed=0", "trainer.max_epochs=30"]
    rates = ["optimizer.lr=0.005", "optimizer.lr=0.0050000005"]
    for folder, rate in zip(("alone", "rounded"), rates, strict=True):
        assert sweep(*words, rate, f"sweep.dir={folder}", without=["data.batch_size"]) == 0
    stacked = ["launcher=stacked", "hydra.launcher.processes=2", "sweep.dir=stacked"]
    try:
        assert sweep(*words, rates[0], *stacked, without=["data.batch_size"]) == 0
    finally:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(kill_workers=True)
    alone, rounded, stacked_ones = (
        np.array([job.value for job in jobs_of(tmp_path / folder).values()])
        for folder in ("alone", "rounded", "stacked")
    )
    assert 0 < np.abs(stacked_ones - alone).max() < 3 * np.abs(rounded - alone).max() < alone.std(ddof=1)
    for number in range(4):
        summary = json.loads((tmp_path / "stacked" / str(number) / "summary.json").read_text())
        assert summary["epochs"] == 30


def test_jobs_are_dealt_out_by_kind() -> None:
    words = [[f"model.latent_dim={size}", f"seed={seed}", "data=digits"] for size in (2, 3) for seed in range(4)]
    assert deal(words, 1) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert deal(words, 2) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert deal(words, 4) == [[0, 2], [1, 3], [4, 6], [5, 7]]
    assert deal(words[:4], 8) == [[0], [1], [2], [3]]
