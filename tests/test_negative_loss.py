"""`scripts/negative_loss.py`, which replays the question that the project grew from."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "negative_loss.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("negative_loss", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_network_is_the_questions(script: ModuleType) -> None:
    assert sum(parameter.numel() for parameter in script.Network().parameters()) == 203_744


@pytest.mark.usefixtures("one_thread")
def test_script_says_when_the_loss_has_not_run_away(script: ModuleType, tmp_path: Path) -> None:
    said: list[str] = []
    status = script.main(["--epochs", "1", "--versions", "first", "--out", str(tmp_path)], said.append)
    assert status == 1
    assert "not -1e15" in said[-1]
    assert (tmp_path / "losses.txt").is_file()
    assert "SIGN-FLIP" in "\n".join(said)
