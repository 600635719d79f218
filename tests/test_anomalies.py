"""`scripts/anomalies.py`: its control against numpy, its law on cases that keep and break it."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[1]


def anomalies() -> Any:
    """`scripts/anomalies.py` as a module."""
    spec = importlib.util.spec_from_file_location("anomalies", ROOT / "scripts" / "anomalies.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks for its module
    spec.loader.exec_module(module)
    return module


def test_the_script_prints_one_line_a_set(shared_data: Callable[[str], Any]) -> None:
    shared_data("adbench_vowels.npz")
    said: list[str] = []
    data = str(ROOT.parent / "shared" / "data")
    arguments = ["--data", data, "--sets", "vowels", "--seeds", "1", "--epochs", "3"]
    anomalies().main(arguments, lambda text: said.append(str(text)))
    cells = said[2].split("|")
    assert cells[1].strip() == "vowels"
    # The control has nothing of ours in it: numpy alone gives its number.
    x, y = (shared_data("adbench_vowels.npz")[name] for name in ("x", "y"))
    train, test, _, labels = train_test_split(x, y, test_size=0.4, random_state=0)
    control = roc_auc_score(labels, np.linalg.norm((test - train.mean(0)) / train.std(0), axis=1))
    assert cells[5].strip() == f"{control:.3f} ± 0.000"


def test_the_script_shows_that_training_that_collapses_leaves_the_start(shared_data: Callable[[str], Any]) -> None:
    """Factor analysis: no control, and not called collapsed."""
    shared_data("adbench_vowels.npz")
    said: list[str] = []
    arguments = ["--data", str(ROOT.parent / "shared" / "data"), "--sets", "vowels", "--seeds", "1", "--epochs", "3"]
    assert anomalies().main([*arguments, "--beta", "1000"], lambda text: said.append(str(text))) == 0
    cells = [cell.strip() for cell in said[2].split("|")]
    assert cells[6] == "0 of 1"
    assert float(cells[7]) < 0.8
    assert float(cells[2].split()[0]) > float(cells[5].split()[0]) + 0.2


def test_the_script_counts_a_silent_doctor_as_a_broken_law() -> None:
    script = anomalies()
    auroc = {"elbo": 0.9, "nll": 0.9, "reconstruction": 0.9, "control": 0.9}
    told = script.Trial(auroc, 0.999, "0 of 8", ("COLLAPSE",))
    silent = script.Trial(auroc, 0.999, "3 of 8", ())
    chance = script.Trial(auroc, 0.5, "3 of 8", ())
    assert script.law({"cardio": [told, chance]})[1]
    lines, holds = script.law({"cardio": [told, silent]})
    assert not holds
    assert "LAW BROKEN" in lines[0]


def test_the_script_without_data_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    assert anomalies().main(["--data", str(tmp_path), "--sets", "musk"], said.append) == 2
    assert "lacks adbench_NAME.npz for musk" in said[0]
