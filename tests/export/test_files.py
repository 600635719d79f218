"""Exported directories: they appear whole or not at all, and hold what gives the module back."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.export.cases import trained
from vae_lightning import load
from vae_lightning.errors import ConfigError, RunError, UserError
from vae_lightning.export import export as exports
from vae_lightning.export import files
from vae_lightning.export.export import export
from vae_lightning.inference.scoring import SCORE_KINDS


@pytest.fixture
def safe(gaussian_run: Any, tmp_path: Path) -> Path:
    return export(load(gaussian_run.run_dir), tmp_path / "safe", "safetensors").directory


def test_safetensors_give_the_module_back_bit_by_bit(gaussian_run: Any, safe: Path) -> None:
    assert sorted(path.name for path in safe.iterdir()) == ["model.json", "model.safetensors"]
    state = torch.get_rng_state()
    model, again = load(gaussian_run.run_dir), load(safe)
    assert torch.equal(torch.get_rng_state(), state)
    assert not again.training
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert (again.columns, again.record) == (model.columns, model.record)
    assert again.reference_measure == model.reference_measure
    x = np.random.default_rng(0).normal(size=(5, 4))
    for method in ("encode", "reconstruct", "log_prob", "score"):
        np.testing.assert_array_equal(getattr(again, method)(x), getattr(model, method)(x))
    for kind in SCORE_KINDS:
        assert again.threshold(0.9, kind) == model.threshold(0.9, kind)
    card = json.loads((safe / "model.json").read_text())
    assert card["score"]["thresholds"]["nll"]["0.99"] == pytest.approx(model.threshold(0.99, "nll"))
    assert set(card["score"]["thresholds"]["elbo"]) == {"0.9", "0.95", "0.99", "0.999"}


def test_an_exported_module_can_be_exported_again(safe: Path, tmp_path: Path) -> None:
    again = export(load(safe), tmp_path / "again", "safetensors").directory
    for name in ("model.json", "model.safetensors"):
        assert (again / name).read_bytes() == (safe / name).read_bytes()


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda card: card.update(vae_lightning="99.0.0"), "which is newer than this one"),
        (lambda card: card.pop("record"), "does not say how its model is built"),
        (lambda card: card.update(record=[1]), "does not say how its model is built"),
        (lambda card: card["record"].update(columns=3), "does not say how its model is built"),
        (lambda card: card["record"].update(columns=[["a", "no dtype"]]), "does not say how its model is built"),
        (lambda card: card["record"]["columns"].pop(), "does not fit the model it describes"),
        (lambda card: card["record"]["config"].pop("model"), "does not say how its model is built"),
        (lambda card: card["record"]["config"]["model"].update(latent_dim=7), "does not fit the model it describes"),
        (
            lambda card: card["record"]["config"]["likelihood"].update(name="os.system"),
            "There is no likelihood=os.system",
        ),
        (lambda card: card.update(format="onnx"), "which no module can be rebuilt from"),
        (lambda card: card.pop("format"), "is no card of vae_lightning"),
    ],
)
def test_a_foreign_card_is_one_clear_line(safe: Path, change: Callable[[dict[str, Any]], Any], says: str) -> None:
    edit(safe / "model.json", change)
    with pytest.raises(UserError, match=says) as caught:
        load(safe)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 64, b"[" * 100_000], ids=range(4))
@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_damaged_files_are_named(safe: Path, name: str, content: bytes) -> None:
    (safe / name).write_bytes(content)
    with pytest.raises(RunError, match=name):
        load(safe)


def test_truncated_and_missing_weights_are_named(safe: Path) -> None:
    weights = safe / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(RunError, match=r"model\.safetensors cannot be read"):
        load(safe)
    weights.unlink()
    with pytest.raises(RunError, match=r"model\.safetensors cannot be read"):
        load(safe)


def test_a_model_without_a_record_cannot_be_built_again(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no record of how it was built"):
        export(trained("linear"), tmp_path / "out", "safetensors")
    assert not list(tmp_path.iterdir())


# --- the check can fail ----------------------------------------------------------------------------------------------


def wrong_by(amount: float, output: int = 0) -> Callable[[Path], Callable[[np.ndarray], list[np.ndarray]]]:
    """A runtime whose one output differs from the file's."""

    def run(path: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
        right = files.run_torch(path)

        def wrong(rows: np.ndarray) -> list[np.ndarray]:
            found = right(rows)
            found[output] = found[output] + amount
            return found

        return wrong

    return run


def test_a_graph_that_differs_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "run_torch", wrong_by(1e-3))
    with pytest.raises(RunError, match=r"encoder\.pt2 does not compute .* output 'loc' differs by up to \d.*e-0[34]"):
        export(trained("linear"), tmp_path / "deep" / "out", "torch")
    assert not list((tmp_path / "deep").iterdir())


def test_a_failed_export_leaves_the_earlier_one(safe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in safe.iterdir()}
    monkeypatch.setattr(exports, "run_torch", wrong_by(np.nan))
    with pytest.raises(RunError, match="differs by up to nan"):
        export(load(safe), safe, "torch")
    assert {path.name: path.read_bytes() for path in safe.iterdir()} == before
    assert [path.name for path in safe.parent.iterdir()] == [safe.name]


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (lambda _: lambda rows: [rows[:1, :3].astype(np.float32)] * 2, r"output 'loc' has shape \(1, 3\)"),
        (lambda _: lambda _rows: 1 / 0, r"encoder\.pt2 does not run, so nothing was exported: division by zero"),
    ],
)
def test_files_that_cannot_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any, says: str) -> None:
    monkeypatch.setattr(exports, "run_torch", run)
    with pytest.raises(RunError, match=says):
        export(trained("linear"), tmp_path / "out", "torch")
    assert not list(tmp_path.iterdir())


def test_a_model_that_gives_no_numbers_is_not_exported(tmp_path: Path) -> None:
    model = trained("linear")
    nn.init.constant_(model.vae.heads.bias, torch.nan)
    with pytest.raises(RunError, match=r"'loc' of the model's encoder is not finite"):
        export(model, tmp_path / "out", "torch")
    assert not list(tmp_path.iterdir())


# --- directories, formats, packages ----------------------------------------------------------------------------------


def test_directories_that_hold_anything_else_are_refused(safe: Path, gaussian_run: Any, tmp_path: Path) -> None:
    model = load(safe)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="file is a file"):
        export(model, tmp_path / "file", "safetensors")
    with pytest.raises(RunError, match="which is no part of an export"):
        export(model, gaussian_run.run_dir, "safetensors")
    (safe / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds notes\.txt, which is no part of an export"):
        export(model, safe, "safetensors")
    stray = tmp_path / "stray"
    stray.mkdir()
    (stray / "model.json").write_text('{"name": "somebody else\'s"}')
    with pytest.raises(RunError, match=r"holds model\.json, which is no part"):
        export(model, stray, "safetensors")
    assert (stray / "model.json").exists()
    assert (safe / "notes.txt").read_text() == "mine"


def test_empty_directories_and_earlier_exports_are_replaced(safe: Path, tmp_path: Path) -> None:
    model = load(safe)
    (tmp_path / "empty").mkdir()
    export(model, str(tmp_path / "empty"), "safetensors")
    export(model, safe, "safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "safe"]
    assert load(tmp_path / "empty").columns == load(safe).columns


def test_what_a_killed_export_left_is_removed(safe: Path, tmp_path: Path) -> None:
    for name in (".out.4999999", ".out.4999999.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").touch()
    export(load(safe), tmp_path / "out", "safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "safe"]


def test_an_old_export_survives_where_the_new_one_cannot_take_its_place(
    safe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, replace, before = load(safe), exports.os.replace, (safe / "model.json").read_bytes()

    def failing(source: Path, target: Path) -> None:
        if target == safe and not source.name.endswith(".old"):
            raise OSError("no space")
        replace(source, target)

    monkeypatch.setattr(exports.os, "replace", failing)
    with pytest.raises(OSError, match="no space"):
        export(model, safe, "safetensors")
    assert (safe / "model.json").read_bytes() == before
    assert [path.name for path in safe.parent.iterdir()] == [safe.name]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"format": "keras"}, "'format' parameter of export must be one of onnx, safetensors, torch. Got 'keras'"),
        ({"kind": "loss"}, "'kind' parameter of export must be one of elbo, nll, reconstruction. Got 'loss'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        export(trained("linear"), tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("format", "package"), [("onnx", "onnxscript"), ("safetensors", "safetensors")])
def test_missing_packages_are_named(safe: Path, monkeypatch: pytest.MonkeyPatch, format: Any, package: str) -> None:
    model = load(safe)
    monkeypatch.setitem(sys.modules, package, None)
    says = rf"The format {format} needs {package}: pip install 'vae-lightning\[export\]'"
    with pytest.raises(ConfigError, match=says):
        export(model, safe.parent / "out", format)
    assert not (safe.parent / "out").exists()
    if package == "safetensors":
        with pytest.raises(ConfigError, match=says):
            load(safe)
