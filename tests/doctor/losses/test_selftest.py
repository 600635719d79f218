"""The command that prints the confusion table, and the script that replays the question."""

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import pytest

from vae_lightning.doctor.losses.cases.base import Case
from vae_lightning.doctor.losses.cases.generate import correct_recipe
from vae_lightning.doctor.losses.cases.recipe import Recipe
from vae_lightning.doctor.losses.cases.wrong import wrong_cases
from vae_lightning.doctor.losses.selftest import confusion, judge, main

SCRIPT = Path(__file__).parents[3] / "scripts" / "negative_loss.py"


def test_selftest_prints_the_table(capsys, monkeypatch) -> None:
    monkeypatch.setattr("vae_lightning.doctor.losses.selftest.wrong_cases", lambda: wrong_cases()[15:21])
    monkeypatch.setattr("vae_lightning.doctor.losses.selftest.silent_cases", list)
    assert main(["--correct", "3", "--wrong", "3"]) == 0
    printed = capsys.readouterr().out
    assert "public cases" in printed
    assert "LOG-SQUARED" in printed


def test_a_missed_case_is_counted() -> None:
    innocent = Case("innocent", "SIGN-FLIP", {"kl": lambda m, s: 0.5 * (m**2 + s.exp() - 1 - s).sum(1).mean()})
    guilty = Case("guilty", "", {"kl": lambda m, s: -0.5 * (m**2 + s.exp() - 1 - s).sum(1).mean()})
    score = judge([innocent, guilty])
    assert (score.right, score.count) == (0, 2)
    assert "SIGN-FLIP" in confusion(score)


def test_correct_recipes_keep_one_sigma_and_one_reduction() -> None:
    chance = random.Random(0)
    for _ in range(200):
        recipe = correct_recipe(chance)
        assert recipe.sigma == recipe.sampler_sigma
        assert (recipe.kl_rows, recipe.kl_columns) == (recipe.rows, recipe.columns)
        assert recipe.kl_sign == recipe.reconstruction_sign
    assert isinstance(recipe, Recipe)


def test_the_doctor_needs_neither_lightning_nor_hydra() -> None:
    code = (
        "import sys, vae_lightning.doctor, vae_lightning.doctor.losses.selftest;"
        "sys.exit(sum(name.split('.')[0] in ('lightning', 'hydra', 'omegaconf', 'scipy', 'pandas', 'tensorflow', 'jax')"
        " for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=SCRIPT.parents[1], check=False).returncode == 0


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("negative_loss", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_network_is_the_questions(script) -> None:
    assert sum(parameter.numel() for parameter in script.Network().parameters()) == 203_744


def test_script_says_when_the_loss_has_not_run_away(script, tmp_path) -> None:
    said: list[str] = []
    status = script.main(["--epochs", "1", "--versions", "first", "--out", str(tmp_path)], said.append)
    assert status == 1
    assert "not -1e15" in said[-1]
    assert (tmp_path / "losses.txt").is_file()
    assert "SIGN-FLIP" in "\n".join(said)
