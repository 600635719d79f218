"""`scripts/synthetic_tables.py`, on a table that needs no archive."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import synthetic_tables

from tests.comparison.test_compare import related
from vae_lightning.comparison.shapes import column_shapes
from vae_lightning.comparison.tables import code_tables
from vae_lightning.comparison.trends import pair_trends

NOWHERE = Path("nowhere")


@pytest.fixture(autouse=True)
def _own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    source = synthetic_tables.Source(lambda _: related(1000, 0), "member")
    monkeypatch.setattr(synthetic_tables, "SETS", {"own": source})


def test_a_copula_has_the_values_and_most_of_the_trends() -> None:
    train = related(2000, 0)
    made = synthetic_tables.copula(synthetic_tables.Job(train, 2000, 0, NOWHERE))
    real, table, shuffled = code_tables(
        {"real rows": train, "copula": made, "shuffled": synthetic_tables.shuffle_columns(train, 0)}
    )
    assert min(column_shapes(real, table).values()) > 0.95
    pair = ("size", "visits")
    assert pair_trends(real, table, [pair])[pair] > 0.95 > 0.7 > pair_trends(real, shuffled, [pair])[pair]
    assert made["weight"].isna().mean() == pytest.approx(train["weight"].isna().mean(), abs=0.03)


def test_makers_stand_beside_each_other_in_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    records = synthetic_tables.measure(NOWHERE, "own", 0, ["copula", "independent"])
    assert [record["generator"] for record in records] == [synthetic_tables.REAL, "copula", "independent"]
    assert records[0]["trend_error"] < records[1]["trend_error"] < records[2]["trend_error"]
    assert json.loads(json.dumps(records)) == records
    synthetic_tables.print_table(records)
    printed = capsys.readouterr().out
    for words in (*synthetic_tables.COLUMNS, "copula", "AUROC of member"):
        assert words in printed


def test_ours_is_trained_and_drawn_from_by_two_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the commands do has tests of its own: here, that every maker is given the same and gives the same."""
    typed: list[tuple[str, ...]] = []

    def call(*words: str) -> None:
        typed.append(words)
        if words[0] == "sample":
            related(20, 1).to_csv(words[words.index("-o") + 1], index=False)

    monkeypatch.setattr(synthetic_tables, "call", call)
    made = synthetic_tables.vae(synthetic_tables.Job(related(50, 0), 20, 3, tmp_path))
    assert len(made) == 20
    assert [words[0] for words in typed] == ["train", "sample"]
    assert {"data=table", "likelihood=auto", "seed=3", f"data.path={tmp_path / 'train.csv'}"} < set(typed[0])
    assert pd.read_csv(tmp_path / "train.csv").columns.tolist() == related(1, 0).columns.tolist()
