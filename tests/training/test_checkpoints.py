"""Checkpoints: the old file or the new one, never half of one, and never code."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from vae_lightning.training.checkpoints import AtomicCheckpointIO


@pytest.fixture
def io() -> AtomicCheckpointIO:
    return AtomicCheckpointIO()


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def content(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "global_step": 10 * epoch, "w": torch.full((9,), float(epoch))}


def test_what_is_written_is_read(io: AtomicCheckpointIO, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "last.ckpt"
    for epoch in (1, 2):
        io.save_checkpoint(content(epoch), path)
        assert io.load_checkpoint(path)["epoch"] == epoch
    assert files(tmp_path) == {"last.ckpt"}


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt(), RuntimeError("killed")])
@pytest.mark.parametrize("moment", ["before", "halfway", "renaming"])
def test_an_interrupted_write_leaves_the_old_file_whole(
    io: AtomicCheckpointIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, moment: str
) -> None:
    path = tmp_path / "last.ckpt"
    io.save_checkpoint(content(1), path)
    old = path.read_bytes()
    save = torch.save

    def torn(what: Any, target: Any, **options: Any) -> None:
        if moment == "halfway":
            save(what, target, **options)
        raise error

    def unmoved(*_: Any) -> None:
        raise error

    if moment == "renaming":
        monkeypatch.setattr(os, "replace", unmoved)
    else:
        monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(type(error)):
        io.save_checkpoint(content(2), path)
    assert path.read_bytes() == old
    assert files(tmp_path) == {"last.ckpt"}


def test_a_first_write_that_fails_leaves_nothing(
    io: AtomicCheckpointIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(_: Any, target: Any, **__: Any) -> None:
        if isinstance(target, Path):
            target.write_bytes(b"half")
        raise OSError(28, "full")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(OSError, match="full"):
        io.save_checkpoint(content(1), tmp_path / "last.ckpt")
    assert files(tmp_path) == set()


@pytest.mark.parametrize("links", [True, False])
def test_two_checkpoints_of_one_step_are_equal_and_independent(
    io: AtomicCheckpointIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(95, "no hard links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    best, last = tmp_path / "best.ckpt", tmp_path / "last.ckpt"
    for path in (best, last):
        io.save_checkpoint(content(1), path)
    assert best.read_bytes() == last.read_bytes()
    for epoch in (2, 3):
        io.save_checkpoint(content(epoch), last)
        assert io.load_checkpoint(last)["epoch"] == epoch
        assert io.load_checkpoint(best)["epoch"] == 1
    assert files(tmp_path) == {"best.ckpt", "last.ckpt"}


def test_a_rubbish_partial_of_a_killed_run_is_no_obstacle(io: AtomicCheckpointIO, tmp_path: Path) -> None:
    (tmp_path / ".last.ckpt.4999999").write_bytes(b"half")  # no process has so high a number
    for name in ("best.ckpt", "last.ckpt"):
        io.save_checkpoint(content(1), tmp_path / name)
    assert files(tmp_path) == {"best.ckpt", "last.ckpt"}


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("it ran",)


def test_code_is_not_read_whatever_is_asked_for(
    io: AtomicCheckpointIO, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"code": Code()}, tmp_path / "last.ckpt")
    with pytest.raises(Exception, match="Weights only load failed"):
        io.load_checkpoint(tmp_path / "last.ckpt", weights_only=False)
    assert capsys.readouterr().out == ""


def test_one_step_in_the_middle_and_at_the_end_of_an_epoch_is_two_checkpoints(
    io: AtomicCheckpointIO, tmp_path: Path
) -> None:
    for name, processed in (("best", 0), ("last", 1)):
        io.save_checkpoint({**content(1), "loops": {"processed": processed}}, tmp_path / f"{name}.ckpt")
    assert [io.load_checkpoint(tmp_path / f"{n}.ckpt")["loops"]["processed"] for n in ("best", "last")] == [0, 1]
