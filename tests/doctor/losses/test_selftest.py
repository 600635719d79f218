"""The command that prints the confusion table."""

import random

from vae_lightning.doctor.losses.cases.generate import draw_correct_recipe
from vae_lightning.doctor.losses.cases.recipe import Case
from vae_lightning.doctor.losses.cases.wrong import wrong_cases
from vae_lightning.doctor.losses.selftest import format_confusion, judge, main


def test_selftest_prints_the_table(capsys, monkeypatch) -> None:
    squared = [case for case in wrong_cases() if case.code == "LOG-SQUARED"]
    monkeypatch.setattr("vae_lightning.doctor.losses.selftest.wrong_cases", lambda: squared)
    monkeypatch.setattr("vae_lightning.doctor.losses.selftest.silent_cases", list)
    assert main(["--correct", "1", "--wrong", "1"]) == 0
    printed = capsys.readouterr().out
    assert "public cases: 1 of 1 right" in printed
    assert "LOG-SQUARED" in printed


def test_a_missed_case_is_counted() -> None:
    innocent = Case("innocent", "SIGN-FLIP", {"kl": lambda m, s: 0.5 * (m**2 + s.exp() - 1 - s).sum(1).mean()})
    guilty = Case("guilty", "", {"kl": lambda m, s: -0.5 * (m**2 + s.exp() - 1 - s).sum(1).mean()})
    score = judge([innocent, guilty])
    assert (score.right, score.count) == (0, 2)
    assert [missed.rpartition(" ")[2] for missed in score.missed] == ["innocent", "guilty"]
    assert "SIGN-FLIP" in format_confusion(score)


def test_correct_recipes_keep_one_sigma_and_one_reduction() -> None:
    rng = random.Random(0)
    for _ in range(200):
        recipe = draw_correct_recipe(rng)
        assert recipe.sigma == recipe.sampler_sigma
        assert (recipe.kl_rows, recipe.kl_columns) == (recipe.rows, recipe.columns)
        assert recipe.kl_sign == recipe.reconstruction_sign
