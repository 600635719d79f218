"""``vae-lightning impute``: empty cells are filled, and no other letter of the file changes."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from vae_lightning import load
from vae_lightning.cli.main import main

LINES = """\
patient,age,height,ward,member,since
007,42,171.50,north,TRUE,2021-03-01
008,,1.6e2,"south, old",FALSE,
"0""9",30,,,,2022-07-15
010,+30,NA,north,TRUE,2021-03-02
"""


@dataclass(frozen=True)
class Trained:
    run_dir: Path
    folder: Path

    def __call__(self, *words: str, **options: Any) -> Result:
        return CliRunner().invoke(main, ["impute", str(self.run_dir), *words], **options)

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text, encoding="utf-8")
        return str(self.folder / name)

    def cells(self, path: str) -> list[list[str]]:
        with Path(path).open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file))


@pytest.fixture(scope="module")
def trained(train: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model of a table with columns of every kind, some cells of which are empty."""
    folder = tmp_path_factory.mktemp("impute")
    draws = np.random.default_rng(0)
    height = draws.normal(170, 10, 80)
    table = pd.DataFrame(
        {
            "age": draws.integers(18, 80, 80),
            "height": height.round(2),
            "ward": draws.choice(["north", "south, old"], 80),
            "member": draws.random(80) > 0.5,
            "since": pd.Timestamp("2021-01-01") + pd.to_timedelta(draws.integers(0, 900, 80), unit="D"),
        }
    )
    table = table.astype(object).mask(draws.random(table.shape) < 0.1)
    table.to_csv(folder / "train.csv", index=False)
    words = ["data=table", f"data.path={folder / 'train.csv'}", "likelihood=auto", "trainer.max_epochs=2"]
    return Trained(Path(train(folder / "run", *words).run_dir), folder)


def test_only_empty_cells_are_written(trained: Trained) -> None:
    """Observed cells keep every letter: 1.6e2, +30, TRUE, 171.50 and a code that begins with zeros."""
    source, full = trained.write("holes.csv", LINES), str(trained.folder / "full.csv")
    said = trained(source, "-o", full)
    assert said.exit_code == 0, said.output
    before, after = trained.cells(source), trained.cells(full)
    assert before[0] == after[0]
    assert len(before) == len(after)
    for old, new in zip(before[1:], after[1:], strict=True):
        for had, has in zip(old, new, strict=True):
            assert has == had if had not in ("", "NA") else has not in ("", "NA")
    columns = dict(zip(after[0], zip(*after[1:], strict=True), strict=True))
    assert columns["age"][1].isdigit()
    assert columns["ward"][2] in ("north", "south, old")
    assert columns["member"][2] in ("TRUE", "FALSE")
    assert pd.Timestamp(columns["since"][1]).isoformat() == f"{columns['since'][1]}T00:00:00"
    assert "Filled 6 of 20 cells, in 5 columns: height 2, age 1, ward 1, member 1, since 1." in said.output


def test_draws_stand_one_under_the_other(trained: Trained) -> None:
    source, tables = trained.write("holes.csv", LINES), str(trained.folder / "tables.csv")
    assert trained(source, "-o", tables, "--draws", "3", "--seed", "1").exit_code == 0
    cells = trained.cells(tables)
    assert cells[0] == ["imputation", *trained.cells(source)[0]]
    assert [row[0] for row in cells[1:]] == [number for number in "123" for _ in range(4)]
    assert [row[1] for row in cells[1:]] == ["007", "008", '0"9', "010"] * 3
    assert len({row[3] for row in cells[1:] if row[1] == "010"}) > 1  # drawn anew in each
    again = str(trained.folder / "again.csv")
    trained(source, "-o", again, "--draws", "3", "--seed", "1")
    assert Path(again).read_bytes() == Path(tables).read_bytes()


def test_the_uncertainty_of_every_filled_cell(trained: Trained) -> None:
    source, spread = trained.write("holes.csv", LINES), str(trained.folder / "spread.csv")
    assert trained(source, "-o", str(trained.folder / "full.csv"), "--uncertainty", spread).exit_code == 0
    found = pd.read_csv(spread)
    assert list(found) == ["age", "height", "ward", "member", "since"]
    assert found.notna().sum().to_dict() == {"age": 1, "height": 2, "ward": 1, "member": 1, "since": 1}
    assert 0 < found["ward"][2] < 1
    assert found["height"][3] > 0
    clash = trained(source, "-o", spread, "--uncertainty", spread)
    assert clash.exit_code == 2
    assert "name another" in clash.output


def test_a_comma_stays_the_decimal_mark(trained: Trained) -> None:
    lines = "age;height;ward;member;since\n40;171,5;north;TRUE;2021-03-01\n41;;north;TRUE;2021-03-01\n42;160,25;;;\n"
    source, full = trained.write("comma.csv", lines), str(trained.folder / "full.csv")
    said = trained(source, "-o", full)
    assert said.exit_code == 0, said.output
    heights = [row[1] for row in trained.cells(full)[1:]]
    assert heights[::2] == ["171,5", "160,25"]
    assert "." not in heights[1]
    assert 100 < float(heights[1].replace(",", ".")) < 250


def test_the_same_in_python(trained: Trained) -> None:
    """Small files are one batch: what the command fills is what the model fills with the seed of that batch."""
    source, full = trained.write("holes.csv", LINES), str(trained.folder / "full.parquet")
    assert trained(source, "-o", full).exit_code == 0
    frame = pd.read_parquet(full)
    assert frame["age"].dtype == np.float64  # as read: the file had a hole
    assert frame.notna().all(axis=None)
    assert load(trained.run_dir).impute(frame).equals(frame)


def test_a_file_without_holes_and_one_with_a_column_of_its_own(trained: Trained) -> None:
    whole = trained.write("whole.csv", LINES.splitlines()[0] + "\n" + LINES.splitlines()[1] + "\n")
    said = trained(whole)
    assert LINES.splitlines()[1] in said.output
    assert "No cell of the model's columns was empty" in said.output
    named = trained.write("named.csv", "imputation,age,height,ward,member,since\n1,2,3,north,TRUE,\n")
    said = trained(named, "--draws", "2")
    assert said.exit_code == 2
    assert "already have a column 'imputation'" in said.output


def test_a_text_that_is_no_known_category_is_told(trained: Trained) -> None:
    said = trained(trained.write("east.csv", LINES.replace("north", "east")))
    assert said.exit_code == 2
    assert "'ward' must hold one of 2 known texts" in said.output
    assert "Traceback" not in said.output
