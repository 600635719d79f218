"""Checkpoints written behind training's back: what was there at the time, whole, and nothing lost in the end."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from vae_lightning.training.background import BackgroundCheckpointIO
from vae_lightning.training.callbacks.last import LastCheckpoint

Make = Callable[..., Any]
LONG = 1e6


@pytest.fixture
def io() -> Iterator[BackgroundCheckpointIO]:
    io = BackgroundCheckpointIO(every_seconds=LONG)
    yield io
    io.teardown()


def content(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "global_step": 10 * epoch, "w": torch.full((9,), float(epoch))}


def on_disk(path: Path) -> Any:
    return torch.load(path, weights_only=True)["epoch"]


def test_a_file_holds_what_was_there_when_it_was_saved(io: BackgroundCheckpointIO, tmp_path: Path) -> None:
    checkpoint = content(1)
    io.save_checkpoint(checkpoint, tmp_path / "last.ckpt")
    checkpoint["w"].fill_(7.0)
    io.flush()
    assert torch.equal(torch.load(tmp_path / "last.ckpt")["w"], torch.ones(9))


def test_the_first_is_written_at_once_and_of_the_next_ones_the_newest_in_the_end(
    io: BackgroundCheckpointIO, tmp_path: Path
) -> None:
    best, last = tmp_path / "best.ckpt", tmp_path / "last.ckpt"
    io.save_checkpoint(content(0), last)
    io.flush()
    for epoch in (1, 2, 3):
        io.save_checkpoint(content(epoch), last)
    io.save_checkpoint(content(3), best)
    assert on_disk(last) == 0
    assert not best.exists()
    io.teardown()
    assert on_disk(last) == on_disk(best) == 3


def test_the_second_has_its_turn_without_being_asked_for(tmp_path: Path) -> None:
    io, written = BackgroundCheckpointIO(every_seconds=0.05), threading.Event()
    io.save_checkpoint(content(0), tmp_path / "last.ckpt")
    io.flush()
    io.save_checkpoint(content(1), tmp_path / "last.ckpt")
    for _ in range(400):
        if on_disk(tmp_path / "last.ckpt") == 1:
            break
        written.wait(0.05)
    assert on_disk(tmp_path / "last.ckpt") == 1


def test_who_reads_a_file_or_removes_it_meets_the_newest(io: BackgroundCheckpointIO, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    for epoch in (0, 1):
        io.save_checkpoint(content(epoch), path)
        assert io.load_checkpoint(path)["epoch"] == epoch
    io.save_checkpoint(content(2), path)
    io.remove_checkpoint(path)
    io.flush()
    assert not path.exists()


def test_what_could_not_be_written_is_told_by_the_next_call(
    io: BackgroundCheckpointIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "full")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        io.save_checkpoint(content(0), tmp_path / "last.ckpt")
        with pytest.raises(OSError, match="full"):
            io.flush()
    assert list(tmp_path.iterdir()) == []
    io.save_checkpoint(content(1), tmp_path / "last.ckpt")  # told once
    io.flush()
    assert on_disk(tmp_path / "last.ckpt") == 1


def test_no_snapshot_is_taken_while_another_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    io, begun, go_on, saved = BackgroundCheckpointIO(every_seconds=0), *(threading.Event() for _ in range(3))
    save = torch.save

    def slow(*given: Any, **options: Any) -> None:
        begun.set()
        assert go_on.wait(60)
        save(*given, **options)

    monkeypatch.setattr(torch, "save", slow)
    io.save_checkpoint(content(0), tmp_path / "last.ckpt")
    assert begun.wait(60)

    def save_next() -> None:
        io.save_checkpoint(content(1), tmp_path / "last.ckpt")
        saved.set()

    thread = threading.Thread(target=save_next)
    thread.start()
    assert not saved.wait(0.2)
    go_on.set()
    thread.join(60)
    io.flush()
    assert on_disk(tmp_path / "last.ckpt") == 1


class Look(Callback):
    """Keeps the epoch in last.ckpt at the beginning of each."""

    takes_blocks = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[int] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:  # noqa: ARG002
        trainer.strategy.checkpoint_io.flush()
        self.found.append(on_disk(self.path) if self.path.exists() else -1)


@pytest.mark.parametrize(
    ("every_seconds", "options", "found", "last"),
    [(0.0, {}, [-1, 0, 1, 2], 3), (LONG, {}, [-1, 0, 0, 0], 3), (LONG, {"max_steps": 35}, [-1, 0, 0, 0], 3)],
)
def test_the_last_epoch_is_always_saved(
    make_module: Make,
    make_data: Make,
    make_trainer: Callable[..., Trainer],
    tmp_path: Path,
    every_seconds: float,
    options: dict[str, Any],
    found: list[int],
    last: int,
) -> None:
    keeper, look = LastCheckpoint(str(tmp_path), every_seconds=every_seconds), Look(tmp_path / "last.ckpt")
    make = partial(make_trainer, callbacks=[keeper, look], enable_checkpointing=True)
    trainer = make(max_epochs=4, plugins=[BackgroundCheckpointIO([keeper], every_seconds)], **options)
    trainer.fit(make_module(), make_data())
    assert look.found == found
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (last, options.get("max_steps", 40))
