"""Commands on a model of columns of several kinds, and on rows with empty cells."""

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from tests.conftest import Run
from vae_lightning.cli.main import main
from vae_lightning.runs.report import page_of_run

WORDS = "auto: categorical 4, gaussian 1, ordinal 1, bernoulli 1 columns"


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_info_names_the_families_and_what_each_column_was_taken_for(mixed_run: Run) -> None:
    """It said by_column, and printed the record of all blocks."""
    told = call("info", mixed_run.run_dir).output
    assert "by_column" not in told
    assert WORDS in told
    assert "what each column was taken for" in told
    for column, family in (("city", "categorical"), ("since (weekday)", "categorical"), ("member", "bernoulli")):
        assert any(column in line and family in line for line in told.splitlines())
    found = json.loads(call("info", mixed_run.run_dir, "--json").output)
    since = ["since (week)", "since (weekday)"]
    assert [choice[0] for choice in found["choices"]] == ["height", "city", "shop", *since, "member", "rooms"]
    assert found["columns"] == ["height", "city", "shop", "since", "member", "rooms"]
    assert found["likelihood options"] == {}


def test_the_page_says_what_each_column_was_taken_for(mixed_run: Run) -> None:
    page = page_of_run(mixed_run.run_dir)
    assert page.facts["model"].endswith(f"likelihood {WORDS}")
    assert page.facts["preprocessing"].startswith("by column: ")
    assert ("city", "texts", "categorical", "3 levels") in page.choices
    for html in (page._repr_html_(), (mixed_run.run_dir / "report.html").read_text()):
        assert "What each column was taken for" in html
        assert "by_column likelihood" not in html
    (support,) = [finding for finding in page.findings if finding.code == "SUPPORT"]
    assert support.says == f"All cells are what their columns' families take ({WORDS})."


def test_a_run_of_one_family_has_no_such_table(gaussian_run: Run) -> None:
    page = page_of_run(gaussian_run.run_dir)
    assert not page.choices
    assert "taken for" not in page._repr_html_()
    assert "taken for" not in call("info", gaussian_run.run_dir).output


@pytest.mark.parametrize(("command", "done"), [("score", "scored"), ("encode", "encoded"), ("reconstruct", "recons")])
def test_commands_say_which_cells_are_empty(
    command: str, done: str, mixed_run: Run, mixed_table: Path, tmp_path: Path
) -> None:
    result = call(command, mixed_run.run_dir, mixed_table, "-o", tmp_path / "out.csv")
    assert result.exit_code == 0, result.stderr
    assert f"90 cells of 2 columns are empty (city: 50, height: 40): such rows are {done}" in result.stderr
    assert "never seen" not in result.stderr
    assert len(pd.read_csv(tmp_path / "out.csv")) == 800


def test_evaluate_says_it_too(mixed_run: Run, mixed_table: Path) -> None:
    result = call("evaluate", mixed_run.run_dir, "--data", mixed_table, "--samples", 2)
    assert "90 cells of 2 columns are empty (city: 50, height: 40): such rows are judged" in result.stderr


def test_a_model_of_whole_rows_is_said_to_be_one(gaussian_run: Run, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x0,x1,x2,x3\n1,2,,4\n1,2,3,4\n")
    result = call("score", gaussian_run.run_dir, path, "-o", tmp_path / "out.csv")
    assert "1 cell of 1 column is empty (x2: 1): such rows are scored by their other cells." in result.stderr
    assert "its encoder has never seen any" in result.stderr
    path.write_text("x0,x1,x2,x3\n1,2,3,4\n")
    assert "empty" not in call("score", gaussian_run.run_dir, path, "-o", tmp_path / "out.csv").stderr


def test_a_value_that_the_model_does_not_know_is_told_with_the_known_ones(
    mixed_run: Run, mixed_table: Path, tmp_path: Path
) -> None:
    rows = pd.read_csv(mixed_table, nrows=10)
    rows.assign(rooms=[3, 4, 5, 7, 11, 3, 3, 3, 3, 3]).to_csv(tmp_path / "rows.csv", index=False)
    result = call("score", mixed_run.run_dir, tmp_path / "rows.csv")
    assert result.exit_code == 2
    assert "The column 'rooms' must hold one of 3, 4, 5, 7" in result.stderr
    assert "the first 11 in row 5" in result.stderr


def test_a_level_in_an_order_that_the_model_does_not_know_is_the_nearest(
    mixed_run: Run, mixed_table: Path, tmp_path: Path
) -> None:
    """Rows of a later week could not be scored at all, for one cell."""
    rows = pd.read_csv(mixed_table, nrows=7)
    rows.assign(since="2035-01-01").to_csv(tmp_path / "rows.csv", index=False)
    result = call("score", mixed_run.run_dir, tmp_path / "rows.csv", "-o", tmp_path / "scores.csv")
    assert len(pd.read_csv(tmp_path / "scores.csv")) == 7
    assert "7 cells of 1 column hold a number that the training rows did not (since (week): 7)" in result.stderr
    rows.to_csv(tmp_path / "rows.csv", index=False)
    assert "did not" not in call("score", mixed_run.run_dir, tmp_path / "rows.csv").stderr


def test_the_doctor_reads_other_rows_by_the_codes_of_the_model(
    mixed_run: Run, mixed_table: Path, tmp_path: Path
) -> None:
    """They were refused as texts, and would have been given codes of their own."""
    rows = pd.read_csv(mixed_table)
    some = rows[rows["city"] != "Lima"]
    some.to_csv(tmp_path / "some.csv", index=False)
    found = json.loads(call("doctor", mixed_run.run_dir, "--data", tmp_path / "some.csv", "--json").output)
    assert not [one for one in found["findings"] if one["code"] == "DATA"]
    whole = json.loads(call("doctor", mixed_run.run_dir, "--json").output)
    # Rome read as Oslo would cost far more than any rows of the same kind.
    assert abs(found["measured"]["NELBO"] - whole["measured"]["NELBO"]) < 1
    rows.assign(city="Paris").to_csv(tmp_path / "paris.csv", index=False)
    told = call("doctor", mixed_run.run_dir, "--data", tmp_path / "paris.csv")
    assert told.exit_code == 2
    assert "must hold one of 3 known texts ('Lima', 'Oslo', 'Rome')" in " ".join(told.output.split())
