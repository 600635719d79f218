"""No run is lost, mixed with another, or worse for having been moved."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from click.testing import CliRunner

from tests.runs.commands import WORDS, refused, train_once
from vae_lightning.cli import main as cli
from vae_lightning.errors import RunError
from vae_lightning.files import free_directory, write_whole
from vae_lightning.runs.conclusion import read_summary
from vae_lightning.runs.directory import LOCK, clear, occupy
from vae_lightning.runs.loading import load
from vae_lightning.sweeps.base import read_job

ROOT = Path(__file__).parents[2]
DEAD = 4_999_999
"""No process has so high a number."""


@pytest.fixture(scope="module")
def two_epochs(made_once: Callable[..., Path]) -> Path:
    """A run of two epochs as the command line leaves it, to copy."""
    return train_once(made_once, "two_epochs", "trainer.max_epochs=2")


@pytest.fixture
def here(two_epochs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(two_epochs, tmp_path / "run")
    return tmp_path


def last_epoch(run_dir: Path) -> int:
    return int(torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["epoch"]) + 1


def content(run_dir: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run_dir)): p.read_bytes() for p in run_dir.rglob("*") if p.is_file() and p.name != LOCK}


# --- used directories -------------------------------------------------------------------------------------------------


def test_a_used_directory_is_refused_and_both_ways_on_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """281 epochs were overwritten without a word."""
    before = content(here / "run")
    said = refused(capsys, *WORDS, "hydra.run.dir=run", "seed=1")
    assert "resume=run" in said
    assert "overwrite=true" in said
    assert content(here / "run") == before


def test_overwriting_begins_anew_and_leaves_what_is_not_this_programs(here: Path) -> None:
    (here / "run" / "notes.txt").write_text("mine")
    (here / "run" / "figures").mkdir()
    (here / "run" / "figures" / "mine.png").write_bytes(b"mine")
    (here / "run" / "report.html").write_text("of the first run")
    (here / "run" / f".report.html.{DEAD}").write_text("half of it")
    cli.train([*WORDS, "hydra.run.dir=run", "overwrite=true", "trainer.max_epochs=1", "seed=1"])
    assert last_epoch(here / "run") == 1
    assert len(pd.read_csv(here / "run" / "metrics.csv")) == 1
    assert (here / "run" / "notes.txt").read_text() == "mine"
    assert (here / "run" / "figures" / "mine.png").read_bytes() == b"mine"
    assert not list((here / "run").glob("*report.html*"))
    assert "seed=1" in yaml.safe_load((here / "run" / ".hydra" / "overrides.yaml").read_text())
    starts = [line for line in (here / "run" / "train.log").read_text().splitlines() if "seed 1." in line]
    assert len(starts) == 1
    assert "seed 0." not in (here / "run" / "train.log").read_text()


def test_tensorboard_shows_one_run_after_overwriting(here: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cli.train([*WORDS, "hydra.run.dir=run", "overwrite=true", "trainer.max_epochs=1"])
    events = EventAccumulator(str(here / "run" / "tensorboard"))
    events.Reload()
    assert len(events.Scalars("val/nelbo")) == 1


def test_a_mistake_beside_overwrite_costs_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(here / "run")
    for mistake in ("likelihood=nowhere", "data=table", "callbacks.guard.share=x", "model.latent_dim=0"):
        refused(capsys, *WORDS, mistake, "hydra.run.dir=run", "overwrite=true")
    after = content(here / "run")
    assert {name for name in before if before[name] != after.get(name)} <= {"train.log"}


def test_a_second_run_that_is_killed_early_is_not_resumed_with_the_firsts_weights(here: Path) -> None:
    clear(here / "run")
    cli.train([*WORDS, "hydra.run.dir=run", "resume=auto", "trainer.max_epochs=1"])
    assert last_epoch(here / "run") == 1


def test_one_command_begins_goes_on_and_says_that_it_is_done(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*WORDS, "trainer.max_epochs=2", "hydra.run.dir=new", "resume=auto"]
    cli.train(command)
    whole = (here / "new" / "summary.json").read_text()
    said = capsys.readouterr().out
    assert "Resuming" not in said
    cli.train(command)
    assert "finished: nothing is left to do" in capsys.readouterr().out
    assert (here / "new" / "summary.json").read_text() == whole
    (here / "new" / "summary.json").unlink()  # as one that was killed after its last epoch
    cli.train(command)
    assert "Resuming after epoch 2" in capsys.readouterr().out
    assert json.loads((here / "new" / "summary.json").read_text())["test"] == json.loads(whole)["test"]
    assert "another command" in refused(capsys, *command, "seed=1")


@pytest.mark.usefixtures("here")
def test_auto_needs_a_directory(capsys: pytest.CaptureFixture[str]) -> None:
    assert "hydra.run.dir=DIR" in refused(capsys, *WORDS, "resume=auto")


@pytest.mark.parametrize(
    "word",
    [
        "seed=1",
        "objective.beta=2",
        "objective.num_samples=3",
        "objective=iwae",
        "objective.warmup=linear",
        "prior=mixture",
        "likelihood=continuous_bernoulli",
        "model.dropout=0.5",
        "data.preprocess=binarize",
    ],
)
def test_a_resume_with_other_settings_mixes_no_two_runs(
    here: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    """The objective, the seed and the likelihood could be changed on the way."""
    before = content(here / "run")
    refused(capsys, "resume=run", word, "trainer.max_epochs=3")
    after = content(here / "run")
    assert {name for name in before if before[name] != after.get(name)} <= {"train.log"}
    cli.train(["resume=run", "trainer.max_epochs=3"])  # and what was refused is not remembered
    assert last_epoch(here / "run") == 3


def test_two_runs_of_the_same_second_have_two_directories(tmp_path: Path) -> None:
    names = [free_directory(str(tmp_path / "outputs" / "12-00-00")) for _ in range(3)]
    assert [Path(name).name for name in names] == ["12-00-00", "12-00-00_2", "12-00-00_3"]


# --- moved and damaged ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_directory_that_was_moved_keeps_its_best_epoch(here: Path, how: str) -> None:
    """The next epoch, however bad, became the best, and summary.json held NaN."""
    best = json.loads((here / "run" / "summary.json").read_text())
    (shutil.move if how == "moved" else shutil.copytree)(here / "run", here / "elsewhere")  # type: ignore[operator]
    weights = load(here / "elsewhere").state_dict()
    original = content(here / "run") if how == "copied" else {}
    for name in ("best", "last"):  # whatever is trained from here on is worse
        path = here / "elsewhere" / "checkpoints" / f"{name}.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        for key in checkpoint["state_dict"]:
            if name == "last" and "output" in key:
                checkpoint["state_dict"][key].add_(9.0)
        torch.save(checkpoint, path)
    cli.train(["resume=elsewhere", "trainer.max_epochs=3"])
    summary = json.loads((here / "elsewhere" / "summary.json").read_text())
    assert summary["val/nelbo"] == best["val/nelbo"]
    assert summary["best_epoch"] == best["best_epoch"]
    assert all(torch.equal(load(here / "elsewhere").state_dict()[key], value) for key, value in weights.items())
    assert how == "moved" or content(here / "run") == original


def test_where_the_best_checkpoint_is_gone_the_next_epochs_are_compared_anew(here: Path) -> None:
    (here / "run" / "checkpoints" / "best.ckpt").unlink()
    cli.train(["resume=run", "trainer.max_epochs=3"])
    summary = json.loads((here / "run" / "summary.json").read_text())
    nelbos = pd.read_csv(here / "run" / "metrics.csv")["val/nelbo"]
    assert summary["val/nelbo"] == pytest.approx(nelbos.iloc[2])
    assert summary["best_epoch"] == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("command", ["score", "encode", "info", "export", "report", "doctor", "resume"])
def test_weights_that_are_no_numbers_are_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, value: float
) -> None:
    """score wrote empty cells, and False for "anomaly", with status 0."""
    for path in (here / "run" / "checkpoints").iterdir():
        checkpoint = torch.load(path, weights_only=True)
        weights = [tensor for tensor in checkpoint["state_dict"].values() if tensor.is_floating_point()]
        weights[0].view(-1)[0] = value
        torch.save(checkpoint, path)
    names = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    (here / "x.csv").write_text(f"{','.join(names)}\n{','.join('0' * 64)}\n")
    if command == "resume":
        error = refused(capsys, "resume=run", "trainer.max_epochs=3")
    else:
        more = ["x.csv"] if command in ("score", "encode") else ["-o", "out"] if command == "export" else []
        done = CliRunner().invoke(cli.main, [command, "run", *more])
        assert done.exit_code != 0
        error = done.output
        assert command == "doctor" or len(error.splitlines()) == 1, error
    assert "holds NaN or infinity in" in error
    assert not (here / "out").exists()


# --- two processes, and killed ones -----------------------------------------------------------------------------------


def test_two_processes_do_not_train_in_one_directory(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(here / "run")
    with subprocess.Popen(
        [sys.executable, "-c", f"import fcntl, time; f = open({str(here / 'run' / LOCK)!r}, 'a'); "
         "fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); time.sleep(100)"],
        stdout=subprocess.PIPE,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            for words in (["resume=run"], [*WORDS, "hydra.run.dir=run", "overwrite=true"]):
                assert "Another process trains in run" in refused(capsys, *words, "trainer.max_epochs=3").replace(
                    str(here) + "/", ""
                )
        finally:
            holder.kill()
    assert content(here / "run") == before
    cli.train(["resume=run", "trainer.max_epochs=3"])  # the lock ended with its process
    assert last_epoch(here / "run") == 3


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RunError, match="once"), occupy(tmp_path):
            raise RunError("once")


def test_what_killed_processes_left_half_written_is_removed_by_the_next(tmp_path: Path) -> None:
    """Files called .NAME.PID stayed for ever."""
    for name in (f".x.csv.{DEAD}", f".y.csv.{DEAD}", f".x.csv.{os.getppid()}", ".x.csv.bak", f"x.csv.{DEAD}"):
        (tmp_path / name).write_text("half")
    (tmp_path / f".x.csv.{DEAD - 1}").mkdir()
    write_whole(tmp_path / "x.csv", b"whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"x.csv", f".y.csv.{DEAD}", f".x.csv.{os.getppid()}", ".x.csv.bak", f"x.csv.{DEAD}"}


@pytest.mark.parametrize("name", ["train.log", "metrics.csv", "checkpoints"])
def test_a_directory_that_cannot_be_written_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A folder where a file belongs stands for a read-only disk, which root does not notice."""
    shutil.rmtree(here / "run")
    (here / "run" / name).mkdir(parents=True) if name != "checkpoints" else (here / "run").mkdir()
    if name == "checkpoints":
        (here / "run" / name).write_text("a file")
    refused(capsys, *WORDS, "hydra.run.dir=run", "trainer.max_epochs=1", "overwrite=true")


@pytest.mark.usefixtures("here")
def test_a_name_that_is_too_long_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, *WORDS, f"hydra.run.dir={'n' * 300}")
    refused(capsys, f"resume={'n' * 300}")
    refused(capsys, *WORDS, "hydra.run.dir=run/train.log/below")


def test_a_directory_that_is_deleted_while_it_is_trained_in_is_one_line(
    train: Callable[..., Any], tmp_path: Path
) -> None:
    def delete(trainer: Any, _: Any) -> None:
        if trainer.current_epoch == 1:
            shutil.rmtree(tmp_path / "run")

    callback = {"_target_": "lightning.pytorch.callbacks.LambdaCallback", "on_train_epoch_start": delete}
    with pytest.raises(RunError, match="was deleted or moved while it was trained in"):
        train(tmp_path / "run", "trainer.max_epochs=4", delete=callback)
    assert not list((tmp_path / "run").glob("checkpoints/*"))


# --- printing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["ascii", "full", "closed"])
def test_printing_loses_no_run(here: Path, case: str) -> None:
    """A summary was lost because a ± could not be printed."""
    command = [sys.executable, str(ROOT / "train.py"), *WORDS, "trainer.max_epochs=1", "hydra.run.dir=new"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    if case == "full":
        with open("/dev/full", "wb") as full:
            status = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, timeout=300)
    elif case == "closed":
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "wb") as closed:
            status = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, env=environment, timeout=300)
    else:
        status = subprocess.run(command, capture_output=True, env=environment, timeout=300)
        assert b"nats" in status.stdout
    assert (status.returncode, status.stderr) == (0, b"")
    assert json.loads((here / "new" / "summary.json").read_text())["epochs"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_loses_at_most_an_epoch(here: Path, number: signal.Signals) -> None:
    command = [sys.executable, str(ROOT / "train.py"), *WORDS, "hydra.run.dir=new", "trainer.max_epochs=100000"]
    command += ["callbacks.early_stopping=null", "callbacks.last.every_seconds=0", "resume=auto"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    give_up = time.monotonic() + 120
    log = here / "new" / "metrics.csv"
    while time.monotonic() < give_up and not (log.exists() and len(log.read_text().splitlines()) > 5):
        time.sleep(0.02)
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    assert process.returncode != 0
    assert b"Traceback" not in error
    rows = len(pd.read_csv(log))
    assert last_epoch(here / "new") >= rows - 1
    assert last_epoch(here / "new") >= 4


# --- callbacks and full disks -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_two_callbacks_that_a_checkpoint_cannot_tell_apart_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Lightning's own refusal was a traceback."""
    again = "+callbacks.again={_target_:lightning.pytorch.callbacks.EarlyStopping,monitor:val/nelbo}"
    assert "could not tell apart: EarlyStopping" in refused(capsys, *WORDS, "hydra.run.dir=new", again)


def test_a_disk_that_is_full_before_training_begins_is_begun_anew(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advice was to resume a directory in which nothing said what to resume."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no room")

    typed = [*WORDS, "hydra.run.dir=new", "trainer.max_epochs=1"]
    with monkeypatch.context() as patch:
        patch.setattr("vae_lightning.sweeps.launch.write_whole", full)
        error = refused(capsys, *typed)
    assert "The disk is full" in error
    assert "resume=" not in error
    cli.train(typed)
    assert last_epoch(here / "new") == 1


# --- what strangers have written ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [("data", 5), ("data", ["a"]), ("model", "x"), ("likelihood", 1), ("seed", "x"), ("seed", 2**70), ("prior", None)],
)
def test_a_record_of_another_shape_is_one_line(here: Path, key: str, value: Any) -> None:
    """info ended in a traceback where config.data was a number."""
    path = here / "run" / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    record = json.loads(checkpoint["vae_lightning"])
    record["config"][key] = value
    torch.save({**checkpoint, "vae_lightning": json.dumps(record)}, path)
    for words in (["info", "run"], ["sample", "run", "-n", "1", "-o", "x.csv"]):
        done = CliRunner().invoke(cli.main, words)
        assert done.exit_code == 2, done.output
        assert "does not say how its model is built" in done.output
        assert len(done.output.splitlines()) == 1


def test_weights_that_are_complex_are_one_line(here: Path) -> None:
    """Their imaginary parts were dropped, with torch's warning alone."""
    path = here / "run" / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    name = next(iter(checkpoint["state_dict"]))
    checkpoint["state_dict"][name] = checkpoint["state_dict"][name] + 1j
    torch.save(checkpoint, path)
    done = CliRunner().invoke(cli.main, ["info", "run"])
    assert done.exit_code == 2
    assert "holds complex numbers in" in done.output
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize("text", ["[" * 20_000, '{"a":' * 15_000, '{"a":' * 400 + "1" + "}" * 400])
def test_json_that_is_nested_without_end_is_one_line(here: Path, text: str) -> None:
    """It was a RecursionError."""
    path = here / "run" / "checkpoints" / "best.ckpt"
    torch.save({**torch.load(path, weights_only=True), "vae_lightning": text}, path)
    with pytest.raises(RunError, match="does not say how its model is built"):
        load("run")
    (here / "run" / "summary.json").write_text(text)
    assert read_summary(here / "run") == {}
    (here / "run" / "job.json").write_text(text)
    assert read_job(here / "run") is None
