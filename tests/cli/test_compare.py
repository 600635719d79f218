"""`vae-lightning compare`: a run's draws, or anybody's table, held against real rows."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from tests.comparison.test_compare import related
from vae_lightning.cli.main import main
from vae_lightning.comparison.compare import INDEPENDENT, SECOND, SYNTHETIC


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, words)])


def refused(*words: object) -> str:
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    return result.stderr


@pytest.fixture(scope="module")
def folder(train: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a mixed table with holes, other rows of the kind, and a table that somebody made. Read only."""
    folder = tmp_path_factory.mktemp("compare")
    for name, rows, seed in (("rows", 500, 0), ("unseen", 300, 1), ("made", 200, 2)):
        related(rows, seed).to_csv(folder / f"{name}.csv", index=False)
    train(folder / "run", "data=table", f"data.path={folder / 'rows.csv'}", "likelihood=auto", "report=true")
    return folder


def test_a_run_is_held_against_its_own_test_rows(folder: Path, tmp_path: Path) -> None:
    result = call(folder / "run", "-o", tmp_path / "found.json", "--target", "city")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["real_rows"], found["rows"], found["target"]) == (50, 50, "city")
    assert set(found["tables"]) == {SYNTHETIC, SECOND, INDEPENDENT}
    assert found["tables"][SECOND]["trend_error"] < found["tables"][INDEPENDENT]["trend_error"]
    assert found["tables"][SYNTHETIC]["closer_to_training"] is not None
    for words in (
        "shape error",
        "trend error",
        "two-sample AUROC",
        "of city in",
        "closer to training",
        SECOND,
    ):
        assert words in result.output


def test_the_same_seed_gives_the_same_table(folder: Path) -> None:
    assert call(folder / "run").output == call(folder / "run").output
    assert call(folder / "run").output != call(folder / "run", "--seed", 1).output


def test_rows_of_a_file_are_halved_and_the_run_drawn_from_as_often_as_asked(folder: Path, tmp_path: Path) -> None:
    result = call(folder / "run", folder / "unseen.csv", "--rows", 120, "-o", tmp_path / "found.json")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["real_rows"], found["rows"]) == (150, 120)
    assert found["tables"][SYNTHETIC]["closer_to_training"] is not None


def test_without_the_training_rows_only_privacy_is_missing(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    shutil.copy(folder / "unseen.csv", tmp_path)
    record = tmp_path / "rows.csv"
    (folder / "rows.csv").rename(record)
    try:
        result = call(tmp_path / "run", tmp_path / "unseen.csv")
        assert result.exit_code == 0, result.output
        assert "Nothing about privacy" in result.stderr
        assert "closer to training" not in result.output
        assert "rows.csv" in refused(tmp_path / "run")
    finally:
        record.rename(folder / "rows.csv")


def test_anybodys_table_is_held_against_real_rows(folder: Path, tmp_path: Path) -> None:
    result = call("--synthetic", folder / "made.csv", folder / "unseen.csv", "-o", tmp_path / "found.json")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["real_rows"], found["rows"]) == (150, 150)
    assert found["tables"][SYNTHETIC]["trend_error"] < found["tables"][INDEPENDENT]["trend_error"]
    assert found["tables"][SYNTHETIC]["closer_to_training"] is None

    words = ["--synthetic", folder / "rows.csv", folder / "unseen.csv", "--train", folder / "rows.csv"]
    assert call(*words, "-o", tmp_path / "found.json").exit_code == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["tables"][SYNTHETIC]["closer_to_training"] > 0.55 > found["tables"][SECOND]["closer_to_training"]


def test_how_a_text_is_written_is_told_as_in_training(folder: Path, tmp_path: Path) -> None:
    related(200, 3).to_csv(tmp_path / "comma.csv", index=False, sep=";", decimal=",")
    words = ["data.decimal=comma", "data.delimiter=';'"]
    assert call(folder / "run", tmp_path / "comma.csv", *words).exit_code == 0
    for name in ("made", "unseen"):
        pd.read_csv(folder / f"{name}.csv").to_csv(tmp_path / f"{name}.csv", index=False, sep=";", decimal=",")
    assert call("--synthetic", tmp_path / "made.csv", tmp_path / "unseen.csv", *words).exit_code == 0


def test_mistakes_end_in_one_line(folder: Path, tmp_path: Path) -> None:
    run, unseen = folder / "run", folder / "unseen.csv"
    assert "There is no column 'ctiy' to predict. Did you mean 'city'?" in refused(run, "--target", "ctiy")
    assert "There is no column 'x' to predict." in refused("--synthetic", folder / "made.csv", unseen, "--target", "x")
    related(50, 0).drop(columns="city").to_csv(tmp_path / "less.csv", index=False)
    assert "lack 1 of the 6 columns" in refused(run, tmp_path / "less.csv")
    assert "lacks 'city'" in refused("--synthetic", tmp_path / "less.csv", unseen)
    assert "run directory" in refused()
    assert "run directory" in refused(tmp_path / "nowhere")
    assert "--train goes with --synthetic" in refused(run, unseen, "--train", unseen)
    assert "no --rows" in refused("--synthetic", unseen, unseen, "--rows", 10)
    assert "give a file" in refused(run, "-")
    related(1, 0).to_csv(tmp_path / "one.csv", index=False)
    assert "At least 2 real rows" in refused(run, tmp_path / "one.csv")
    assert "must be point or comma" in refused(run, unseen, "data.decimal=dot")


def test_the_page_of_a_run_has_the_table(folder: Path) -> None:
    html = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "Is the synthetic table any good?" in html
    for words in ("shape error", "two-sample AUROC", "closer to training", SECOND, INDEPENDENT, "worst "):
        assert words in html
