"""``vae-lightning export``: what it prints, what it writes, one line for a mistake."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from vae_lightning import load
from vae_lightning.cli.main import main
from vae_lightning.errors import RunError
from vae_lightning.export import export as exports

ROOT = Path(__file__).parents[2]


def export(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["export", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def one_line(result: Result) -> str:
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_onnx_is_written_checked_and_used_as_the_document_says(bernoulli_run: Any, tmp_path: Path) -> None:
    result = export(bernoulli_run.run_dir, "-o", "exported")
    assert (result.exit_code, result.stderr) == (0, "")
    *graphs, last = result.stdout.splitlines()
    names = ["encoder.onnx", "decoder.onnx", "score.onnx"]
    for name, line in zip(names, graphs, strict=True):
        assert re.fullmatch(rf"{name} agrees with the module within \de[+-]\d\d on 300 random rows\.", line), line
    assert last == f"The export is in exported: {', '.join(names)}, model.json."
    _, snippet = re.findall(r"^```py\n(.*?)^```", (ROOT / "docs" / "export.md").read_text(), re.M | re.S)
    program = f"{snippet}print(json.dumps([anomaly_score.tolist(), alarm.tolist()]))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=100
    )
    model, rows = load(bernoulli_run.run_dir), np.zeros((5, 16))
    score, alarm = json.loads(done.stdout)
    assert score == pytest.approx(model.score(rows), abs=1e-4)
    assert alarm == (model.score(rows) > model.threshold(0.99)).tolist()


def test_safetensors_load_and_the_kind_is_in_the_card(gaussian_run: Any) -> None:
    result = export(gaussian_run.run_dir, "--format", "safetensors", "--kind", "nll", "--output", "there")
    assert result.stdout == "The export is in there: model.safetensors, model.json.\n"
    assert load("there").columns == load(gaussian_run.run_dir).columns
    assert json.loads(Path("there/model.json").read_text())["score"]["kind"] == "nll"


def test_mistakes_are_one_line(gaussian_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = gaussian_run.run_dir
    assert "There is no run directory nowhere" in one_line(export("nowhere", "-o", "out"))
    Path("file").write_text("mine")
    assert "file is a file" in one_line(export(run, "-o", "file"))
    assert "File exists: " in one_line(export(run, "-o", "file/out"))
    assert "no part of an export" in one_line(export(run, "-o", run))
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "needs onnx: pip install 'vae-lightning[export]'" in one_line(export(run, "-o", "out"))
    assert not Path("out").exists()


def test_a_graph_that_differs_is_one_line_and_no_directory(gaussian_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def differs(*_: object) -> None:
        raise RunError("encoder.pt2 does not compute what the module does.")

    monkeypatch.setattr(exports, "agreement", differs)
    assert "encoder.pt2 does not compute" in one_line(export(gaussian_run.run_dir, "--format", "torch", "-o", "out"))
    assert not list(Path().iterdir())


@pytest.mark.parametrize("wrong", [["--format", "keras"], ["--kind", "loss"], []])
def test_options_are_checked(wrong: list[str]) -> None:
    output = ["-o", "out"] if wrong else []
    result = export("run", *wrong, *output)
    assert result.exit_code == 2
    assert "Invalid value" in result.stderr or "Missing option '-o' / '--output'" in result.stderr


def test_the_options_are_those_of_the_package() -> None:
    from vae_lightning.inference.scoring import SCORE_KINDS

    choices = {parameter.opts[0]: parameter.type for parameter in main.commands["export"].params}
    assert tuple(choices["--format"].choices) == exports.FORMATS  # type: ignore[attr-defined]
    assert tuple(choices["--kind"].choices) == SCORE_KINDS  # type: ignore[attr-defined]


def test_help_is_quick_and_has_an_example(tmp_path: Path) -> None:
    code = "from vae_lightning.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code, "export", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0
    assert "vae-lightning export outputs/first -o exported" in done.stdout
    assert not [name for name in ("torch", "pandas", "onnx", "onnxruntime") if f" {name}\n" in done.stderr]
