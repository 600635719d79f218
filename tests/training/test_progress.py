"""The bar on a terminal, and the few lines elsewhere."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import vae_lightning.reporting.table  # before a test exchanges the console that it imports
import vae_lightning.training.callbacks.progress
from vae_lightning.errors import RunError

Train = Callable[..., Any]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Console:
    """The program's console as a terminal that can be read."""
    console = Console(force_terminal=True, file=io.StringIO(), width=200, highlight=False, soft_wrap=True)
    for module in (vae_lightning.console, vae_lightning.reporting.table, vae_lightning.training.callbacks.progress):
        monkeypatch.setattr(module, "console", console)
    return console


def shown(console: Console) -> str:
    return ESCAPES.sub("", console.file.getvalue())  # type: ignore[attr-defined]


def test_a_terminal_gets_a_bar_with_epoch_rate_and_three_terms(train: Train, tmp_path: Path, terminal: Console) -> None:
    run = train(tmp_path, "trainer.max_epochs=3", "callbacks.progress.refresh_seconds=0")
    said = shown(terminal)
    last = run.metrics.iloc[-1]
    terms = " + ".join(f"{name} {last[f'val/{name}']:.2f}" for name in ("reconstruction", "kl"))
    for epoch in (1, 2, 3):
        assert re.search(rf"epoch {epoch}/3 .*[━╸].* [\d,]+ rows/s", said)
    assert f"val nelbo {last['val/nelbo']:.2f} = {terms}" in said
    assert "test NLL, 10 importance samples a row" in said


def test_the_bar_is_not_drawn_at_every_step(train: Train, tmp_path: Path, terminal: Console) -> None:
    train(tmp_path, "callbacks.progress.refresh_seconds=1000")
    # When it starts, at its first step, and when it ends.
    assert shown(terminal).count("rows/s") <= 4


def test_a_resumed_bar_stands_where_the_run_stopped(train: Train, tmp_path: Path, terminal: Console) -> None:
    train(tmp_path, "trainer.max_epochs=1")
    terminal.file.truncate(0)
    train(tmp_path, "trainer.max_epochs=2", f"resume={tmp_path}", "callbacks.progress.refresh_seconds=0")
    assert "epoch 2/2" in shown(terminal)
    assert "epoch 1/2" not in shown(terminal)


def test_a_failing_run_takes_its_bar_away(train: Train, tmp_path: Path, terminal: Console) -> None:
    with pytest.raises(RunError):
        train(tmp_path, "optimizer.lr=1e30")
    # Rich shows the cursor again when a bar is closed.
    assert terminal.file.getvalue().rindex("\x1b[?25h") > terminal.file.getvalue().rindex("\x1b[?25l")  # type: ignore[attr-defined]


def lines(text: str) -> list[int]:
    """The epochs that got a line."""
    return [
        int(epoch) for epoch in re.findall(r"^epoch (\d+)/\d+  [\d,]+ rows/s  val nelbo .* = .*$", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("epochs", [1, 3, 10, 19, 40])
def test_without_a_terminal_about_ten_lines(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], epochs: int
) -> None:
    words = ["data.batch_size=140", "logger=none", "test.num_samples=1", "callbacks.early_stopping=null"]
    train(tmp_path, f"trainer.max_epochs={epochs}", *words, "callbacks.early_stopping.patience=")
    said = capsys.readouterr().out
    printed = lines(said)
    assert printed[0] == 1
    assert printed[-1] == epochs
    assert min(epochs, 9) <= len(printed) <= 12
    assert "\x1b" not in said


def test_the_number_of_lines_can_be_chosen(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, "trainer.max_epochs=6", "callbacks.progress.lines=2")
    assert lines(capsys.readouterr().out) == [1, 3, 6]


def test_a_run_without_a_last_epoch_doubles_its_distances(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, "trainer.max_epochs=-1", "trainer.max_steps=9", "scheduler=none", "data.batch_size=140")
    said = capsys.readouterr().out
    assert re.findall(r"^epoch (\d+)  [\d,]+ rows/s  val nelbo", said, re.MULTILINE) == ["1", "2", "4", "8"]
