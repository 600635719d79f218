"""Checkpoints that somebody else wrote: the same model, or one line; no code of theirs, no memory without end."""

import json
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from tests.conftest import Run
from tests.fuzz.commands import assert_told, command
from tests.fuzz.fuzzing import attempt, budgets, empty_folder, files_in, fuzz
from tests.fuzz.json_trees import FOREIGN, documents
from tests.fuzz.json_trees import Path as Place
from tests.fuzz.texts import mutated
from vae_lightning.errors import UserError
from vae_lightning.runs.loading import load

IRRELEVANT = {"optimizer", "scheduler", "objective", "seed", "data"}
"""What a record says of training, without which the model is the same."""
WEIGHTS = ["nan", "inf", "shape", "gone", "text", "double", "complex", "empty", "more", "list"]


@dataclass(frozen=True)
class Changes:
    """What is different from the checkpoint of a run.

    Attributes:
        record: the text that stands for the record.
        place: what in it was changed; () may be anything, None is nothing.
        weights: what became of which tensor.
        content: the bytes of the whole file, instead.
        scores: the bytes of the validation scores, instead.
    """

    record: bytes
    place: Place | None
    weights: tuple[str, int] | None = None
    content: bytes | None = None
    scores: bytes | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether the checkpoint is as the run wrote it."""
        return [self.place, self.weights, self.content, self.scores] == [None] * 4

    def __repr__(self) -> str:
        what = [self.place, self.weights, self.content and self.content[:50], self.scores]
        return f"changed {what}: {self.record[:3000]!r}"


@st.composite
def changes(draw: st.DrawFn, record: Any, content: bytes, scores: bytes) -> Changes:
    """A checkpoint that is damaged in one way."""
    sound = json.dumps(record).encode()
    what = draw(st.sampled_from(["record", "record", "record", "weights", "bytes", "scores"]))
    if what == "record":
        return Changes(*draw(documents(record)))
    if what == "weights":
        return Changes(sound, None, (draw(st.sampled_from(WEIGHTS)), draw(st.integers(0, 100))))
    if what == "scores":
        return Changes(sound, None, scores=draw(mutated(scores)))
    at = draw(st.integers(0, len(content) - 1))
    damaged = (
        content[:at]
        if draw(st.booleans())
        else content[:at] + draw(mutated(content[at : at + 40])) + content[at + 40 :]
    )
    return Changes(sound, None, content=damaged)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """So that a record that wants a hundred gigabytes does not bring the machine to its knees."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**32, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux says how much memory is in use")
@pytest.mark.parametrize("examples", budgets(150))
def test_checkpoints(examples: int, tmp_path: Path, small_run: Run, little_memory: None) -> None:  # noqa: ARG001
    path = small_run.run_dir / "checkpoints" / "best.ckpt"
    checkpoint = {
        key: value for key, value in small_run.checkpoint("best").items() if key not in ("loops", "callbacks")
    }
    small = tmp_path / "small.ckpt"
    torch.save(checkpoint, small)
    content = small.read_bytes()
    small.unlink()
    scores = (path.parents[1] / "valid_scores.csv").read_bytes()
    rows = np.random.default_rng(1).normal(size=(4, 3))
    codes = load(small_run.run_dir).encode(rows)

    def check(change: Changes) -> str:
        with empty_folder(tmp_path) as folder:
            (folder / "checkpoints").mkdir()
            target = folder / "checkpoints" / "best.ckpt"
            (folder / "valid_scores.csv").write_bytes(scores if change.scores is None else change.scores)
            if change.content is None:
                _save(checkpoint, change, target)
            else:
                target.write_bytes(change.content)
            before = files_in(folder)
            model = attempt(lambda: load(folder))
            found = model if isinstance(model, UserError) else attempt(lambda: model.encode(rows))
            assert FOREIGN not in sys.modules, "code that a record names was run"
            told = command("info", str(folder), "--json")
            assert files_in(folder) == before
            if isinstance(model, UserError):
                assert_told(told)
                assert not change.is_nothing, model
                return "refused"
            assert told.status in (0, 2), told
            if isinstance(found, UserError):
                return "read, and of other columns"
            assert np.isfinite(found).all(), "codes that are no numbers"
            is_same = change.place is None or (
                change.place[:1] == ("config",) and change.place[1:2] in {(name,) for name in IRRELEVANT}
            )
            if is_same and change.weights is None:
                assert np.array_equal(found, codes), "another model than the one that was saved"
            return "read"

    fuzz("checkpoints", changes(json.loads(checkpoint["vae_lightning"]), content, scores), check, examples)


def _save(checkpoint: dict[str, Any], change: Changes, path: Path) -> None:
    weights = dict(checkpoint["state_dict"])
    if change.weights is not None:
        what, number = change.weights
        name = sorted(weights)[number % len(weights)]
        tensor = weights[name]
        made: dict[str, Any] = {
            "nan": torch.full_like(tensor, torch.nan) if tensor.is_floating_point() else tensor,
            "inf": torch.full_like(tensor, torch.inf) if tensor.is_floating_point() else tensor,
            "shape": tensor.new_zeros(*tensor.shape, 2),
            "text": "x",
            "double": tensor.double(),
            "complex": tensor.to(torch.complex64),
            "empty": tensor.new_zeros(0),
            "list": tensor.tolist(),
        }
        weights.pop(name)
        if what == "more":
            weights |= {name: tensor, "model.x": tensor}
        elif what != "gone":
            weights[name] = made[what]
    record = change.record.decode("utf-8", "replace")
    torch.save({**checkpoint, "state_dict": weights, "vae_lightning": record}, path)
