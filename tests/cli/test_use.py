"""The commands that use a trained model: what goes in comes out with its labels, names, order and dtypes."""

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result

from vae_lightning import load
from vae_lightning.cli.main import main
from vae_lightning.data.files import reading

COMMANDS = ("encode", "reconstruct", "score")


def table(rows: int = 60) -> pd.DataFrame:
    draws = np.random.default_rng(0)
    size = draws.normal(170, 10, rows)
    return pd.DataFrame(
        {
            "patient": [f"p{i:03d}" for i in range(rows)],
            "age": draws.integers(18, 80, rows),
            "height": size,
            "ward": draws.choice(["north", "south"], rows),
            "member": draws.random(rows) > 0.5,
            "weight": (size - 100 + draws.normal(0, 5, rows)).astype(np.float32),
        }
    )


MODELLED = ["age", "height", "member", "weight"]


@dataclass(frozen=True)
class Trained:
    run_dir: Path
    folder: Path

    def __call__(self, *words: str, **options: Any) -> Result:
        return CliRunner().invoke(main, [words[0], str(self.run_dir), *words[1:]], **options)

    def path(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture(scope="module")
def trained(train: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model of a table with numbers of every kind beside texts that it does not read."""
    folder = tmp_path_factory.mktemp("use")
    table().to_csv(folder / "rows.csv", index=False)
    table().to_parquet(folder / "rows.parquet")
    words = [f"data.path={folder / 'rows.parquet'}", "data.drop=[patient]", "data.label=ward", "trainer.max_epochs=3"]
    return Trained(train(folder / "run", "data=table", *words).run_dir, folder)


def ended_well(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


# --- what comes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_codes_stand_beside_the_columns_that_are_not_read(trained: Trained, ending: str, tmp_path: Path) -> None:
    ended_well(trained("encode", trained.path(f"rows.{ending}"), "-o", str(tmp_path / "codes.parquet"), "--std"))
    found = pd.read_parquet(tmp_path / "codes.parquet")
    loc, std = load(trained.run_dir).encode(table(), return_std=True)
    assert found.columns.tolist() == ["patient", "ward", "z0", "z1", "z0_std", "z1_std"]
    assert found["patient"].tolist() == table()["patient"].tolist()
    np.testing.assert_allclose(found[["z0", "z1"]], loc, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[["z0_std", "z1_std"]], std, rtol=1e-5)


@pytest.mark.parametrize("output", ["csv", "parquet", "feather", "tsv", "csv.gz"])
@pytest.mark.parametrize("given", ["csv", "parquet"])
def test_a_reconstruction_has_the_names_order_and_dtypes_of_the_file(
    trained: Trained, given: str, output: str, tmp_path: Path
) -> None:
    path = tmp_path / f"again.{output}"
    ended_well(trained("reconstruct", trained.path(f"rows.{given}"), "-o", str(path)))
    read = {"parquet": pd.read_parquet, "feather": pd.read_feather, "tsv": lambda p: pd.read_csv(p, sep="\t")}
    found = read.get(output, pd.read_csv)(path)
    # Text knows whole numbers, fractions, truth values and words; float32 is a fraction there.
    binary = given == "parquet" and output in ("parquet", "feather")
    kept = table() if binary else table().astype({"weight": "float64"})
    assert found.dtypes.to_dict() == kept.dtypes.to_dict()
    assert found.columns.tolist() == kept.columns.tolist()
    assert found[["patient", "ward"]].equals(kept[["patient", "ward"]])
    means = load(trained.run_dir).reconstruct(table(), mean=True)
    assert found["age"].tolist() == means["age"].round().astype(int).tolist()
    assert found["member"].tolist() == (means["member"] > 0.5).tolist()
    np.testing.assert_allclose(found["height"], means["height"], rtol=1e-6)


def test_the_batch_decides_nothing_about_whole_numbers(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_ROWS", 20)
    table().assign(age=[*table()["age"][:-1], 41.5]).to_csv(tmp_path / "rows.csv", index=False)
    ended_well(trained("reconstruct", str(tmp_path / "rows.csv"), "-o", str(tmp_path / "again.parquet")))
    assert pd.read_parquet(tmp_path / "again.parquet")["age"].dtype == np.int64


def test_means_keep_their_fractions(trained: Trained, tmp_path: Path) -> None:
    ended_well(trained("reconstruct", trained.path("rows.csv"), "-o", str(tmp_path / "again.csv"), "--mean"))
    again = pd.read_csv(tmp_path / "again.csv")
    means = load(trained.run_dir).reconstruct(table(), mean=True)
    np.testing.assert_allclose(again[MODELLED], means[MODELLED], rtol=1e-6)
    assert (again["age"] % 1).any()


@pytest.mark.parametrize("command", COMMANDS)
def test_labels_of_rows_come_along(trained: Trained, command: str, tmp_path: Path) -> None:
    labelled = table().set_index("patient")
    labelled.to_parquet(tmp_path / "rows.parquet")
    ended_well(trained(command, str(tmp_path / "rows.parquet"), "-o", str(tmp_path / "out.parquet")))
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert found.index.equals(labelled.index)
    assert found.index.name == "patient"


@pytest.mark.parametrize("command", COMMANDS)
def test_small_batches_give_what_large_ones_give(
    trained: Trained, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "large.csv", tmp_path / "small.csv"]
    ended_well(trained(command, trained.path("rows.csv"), "-o", str(paths[0])))
    monkeypatch.setattr(reading, "MAX_ROWS", 7)
    ended_well(trained(command, trained.path("rows.csv"), "-o", str(paths[1])))
    large, small = map(pd.read_csv, paths)
    pd.testing.assert_frame_equal(large, small, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["elbo", "nll", "reconstruction"])
def test_scores_are_those_of_the_model_and_their_parts_sum(trained: Trained, kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    result = ended_well(
        trained("score", trained.path("rows.csv"), "-o", str(path), "--kind", kind, "--by-column", "--threshold", "0.9")
    )
    assert "higher is more anomalous" in result.stderr
    found, model = pd.read_csv(path), load(trained.run_dir)
    parts = [] if kind == "reconstruction" else ["kl"]
    nats = [f"nats_{name}" for name in MODELLED]
    assert found.columns.tolist() == ["patient", "ward", "anomaly_score", "is_anomaly", *parts, *nats]
    np.testing.assert_allclose(found["anomaly_score"], model.score(table(), kind), rtol=1e-6)
    np.testing.assert_allclose(found[[*parts, *nats]].sum(axis=1), found["anomaly_score"], atol=1e-9)
    assert found["is_anomaly"].tolist() == (found["anomaly_score"] > model.threshold(0.9, kind)).tolist()


def test_new_rows_have_the_columns_and_dtypes_of_the_training_rows(trained: Trained, tmp_path: Path) -> None:
    for name in ("new.parquet", "again.parquet"):
        ended_well(trained("sample", "-n", "100", "--seed", "3", "-o", str(tmp_path / name)))
    new, again = pd.read_parquet(tmp_path / "new.parquet"), pd.read_parquet(tmp_path / "again.parquet")
    assert new.dtypes.to_dict() == table()[MODELLED].dtypes.to_dict()
    pd.testing.assert_frame_equal(new, again)
    pd.testing.assert_frame_equal(new, load(trained.run_dir).sample(100, seed=3))


def test_without_a_seed_two_processes_draw_different_rows(trained: Trained) -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(0)  # as every process begins with the same global streams
        np.random.seed(0)
        random.seed(0)
        drawn.append(ended_well(trained("sample", "-n1")).stdout)
    assert [text.splitlines()[0] for text in drawn] == [",".join(MODELLED)] * 2
    assert drawn[0] != drawn[1]


def test_the_temperature_narrows_and_means_vary_less(trained: Trained, tmp_path: Path) -> None:
    spreads = {}
    for name, options in {"draws": [], "means": ["--mean"], "cold": ["--mean", "--temperature", "0"]}.items():
        path = tmp_path / f"{name}.parquet"
        ended_well(trained("sample", "-n", "2000", "--seed", "0", "-o", str(path), *options))
        spreads[name] = pd.read_parquet(path)["height"].std()
    assert spreads["draws"] > 1.05 * spreads["means"] > 0
    assert spreads["cold"] == pytest.approx(0, abs=1e-4)


def test_a_pipe_leads_in_and_out(trained: Trained) -> None:
    text = table().to_csv(index=False)
    result = ended_well(trained("encode", "-", input=text))
    assert result.stdout.splitlines()[0] == "patient,ward,z0,z1"
    assert len(result.stdout.splitlines()) == 61
    assert "encoded: 60 rows" in result.stderr


def test_whoever_reads_a_pipe_may_stop(trained: Trained) -> None:
    command = (
        f"{sys.executable} -c 'from vae_lightning.cli.main import main; main()' sample {trained.run_dir} -n 200000"
    )
    done = subprocess.run(f"{command} | head -n 1", shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == ",".join(MODELLED) + "\n"
    assert "Traceback" not in done.stderr


def test_an_unknown_column_passes_through_and_is_told(trained: Trained, tmp_path: Path) -> None:
    table().assign(shoe=42).to_csv(tmp_path / "rows.csv", index=False)
    result = ended_well(trained("encode", str(tmp_path / "rows.csv")))
    (line,) = [line for line in result.stderr.splitlines() if "Passed through" in line]
    assert line == "Passed through, as the model does not know them: 1 column, shoe."
    assert result.stdout.startswith("patient,ward,shoe,z0,z1\n")


# --- evaluate and info -----------------------------------------------------------------------------------------------


def test_the_table_comes_out_again(trained: Trained) -> None:
    summary = json.loads((trained.run_dir / "summary.json").read_text())["test"]
    found = json.loads(ended_well(trained("evaluate", "--samples", "10", "--json")).stdout)
    assert found == pytest.approx(summary, nan_ok=True)
    assert "NLL" in ended_well(trained("evaluate", "--samples", "10")).stdout


def test_another_file_is_evaluated_in_batches(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = json.loads(ended_well(trained("evaluate", "--data", trained.path("rows.csv"), "--json")).stdout)
    monkeypatch.setattr(reading, "MAX_ROWS", 13)
    parts = json.loads(ended_well(trained("evaluate", "--data", trained.path("rows.csv"), "--json")).stdout)
    for name in ("kl", "baseline", "entropy_floor", "num_rows"):
        assert parts[name] == pytest.approx(whole[name], rel=1e-5), name
    assert parts["nll"] == pytest.approx(whole["nll"], abs=0.1)  # other draws


def test_without_the_training_rows_there_is_no_baseline(train: Callable[..., Any], tmp_path: Path) -> None:
    table().to_csv(tmp_path / "rows.csv", index=False)
    words = [f"data.path={tmp_path / 'rows.csv'}", "data.columns=[age,height]", "trainer.max_epochs=1"]
    run = train(tmp_path / "run", "data=table", *words)
    (tmp_path / "rows.csv").rename(tmp_path / "moved.csv")
    result = CliRunner().invoke(main, ["evaluate", str(run.run_dir), "--data", str(tmp_path / "moved.csv")])
    assert "No baseline and no control: There is no file" in ended_well(result).stderr
    assert "needs the training rows" in result.stdout


def test_info_tells_what_was_trained_and_how_well(trained: Trained) -> None:
    found = json.loads(ended_well(trained("info", "--json")).stdout)
    summary = json.loads((trained.run_dir / "summary.json").read_text())
    assert (found["likelihood"], found["columns"], found["latent dimensions"]) == ("gaussian", MODELLED, 2)
    assert (found["test NLL"], found["finished"]) == (summary["test"]["nll"], True)
    assert found["parameters"] == summary["parameters"]
    told = ended_well(trained("info")).stdout
    assert "age, height, member, weight" in told
    assert "_target_" not in told


def test_info_of_a_run_that_has_not_finished_says_so(train: Callable[..., Any], tmp_path: Path) -> None:
    run = train(tmp_path, "trainer.max_epochs=1")
    (tmp_path / "summary.json").unlink()
    result = ended_well(CliRunner().invoke(main, ["info", str(run.run_dir), "--json"]))
    assert json.loads(result.stdout)["finished"] is False


# --- bad input -------------------------------------------------------------------------------------------------------

BAD_ROWS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "missing column": (lambda t: t.drop(columns=["age"]), "lack 1 of the 4 columns .*: 'age'"),
    "misspelt column": (lambda t: t.rename(columns={"height": "heigth"}), "lack .*'height'.* does not know .*'heigth'"),
    "text": (
        lambda t: t.assign(age=[*t["age"][:4], "old", *t["age"][5:]]),
        "'age' must hold numbers: 1 of 60 values .*'old' in row 5",
    ),
    "infinite value": (
        lambda t: t.assign(height=t["height"].where(t.index != 7, np.inf)),
        "1 of 240 values are infinite, the first in row 8, column 'height'",
    ),
    "no rows": (lambda t: t.iloc[:0], "holds no rows"),
}


@pytest.mark.parametrize("bad", BAD_ROWS)
@pytest.mark.parametrize("command", [*COMMANDS, "evaluate"])
def test_bad_rows_end_in_one_line_and_leave_no_file(trained: Trained, command: str, bad: str, tmp_path: Path) -> None:
    change, message = BAD_ROWS[bad]
    change(table()).to_csv(tmp_path / "bad.csv", index=False)
    data = ["--data", str(tmp_path / "bad.csv")] if command == "evaluate" else [str(tmp_path / "bad.csv")]
    output = [] if command == "evaluate" else ["-o", str(tmp_path / "out.csv")]
    one_line(trained(command, *data, *output), message)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def one_line(result: Result, message: str) -> None:
    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if not line.startswith("Passed through")]
    assert len(errors) == 1
    assert re.match(f"error: .*{message}", errors[0]), errors[0]


EVERY = [["encode", "rows.csv"], ["reconstruct", "rows.csv"], ["score", "rows.csv"], ["sample"], ["evaluate"], ["info"]]


@pytest.mark.parametrize("words", EVERY, ids=lambda words: words[0])
@pytest.mark.parametrize("damage", ["truncated", "no checkpoint", "no run", "newer"])
def test_a_run_that_cannot_be_used_ends_in_one_line(
    trained: Trained, words: list[str], damage: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    if damage != "no run":
        shutil.copytree(trained.run_dir, run)
    checkpoint = run / "checkpoints" / "best.ckpt"
    message = {
        "truncated": "cannot be read: it is damaged",
        "no checkpoint": "holds no checkpoint",
        "no run": "There is no run directory",
        "newer": r"made by vae_lightning 99\.0\.0, which is newer than this one",
    }[damage]
    if damage == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    elif damage == "no checkpoint":
        shutil.rmtree(run / "checkpoints")
    elif damage == "newer":
        content = torch.load(checkpoint, weights_only=True)
        content["vae_lightning"] = json.dumps({**json.loads(content["vae_lightning"]), "version": "99.0.0"})
        torch.save(content, checkpoint)
    data = [trained.path(word) for word in words[1:]]
    one_line(CliRunner().invoke(main, [words[0], str(run), *data]), message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encode", "none.csv"], r"There is no file .*none\.csv"),
        (["encode", "rows.csv", "-o", "codes.xlsx"], "no known ending to write"),
        (["encode", "rows.csv", "-o", "none/codes.csv"], "There is no folder"),
        (["score", "rows.csv", "--threshold", "1.5"], "'quantile' parameter of threshold must be between 0 and 1"),
        (["sample", "-n", "0"], "'num_rows' parameter of sample must be a whole number from 1 on"),
        (["sample", "--temperature", "-1"], "'temperature' parameter of sample must be 0 or more"),
        (["evaluate", "--samples", "0"], "'num_samples' parameter of log_prob must be at least 1"),
        (["evaluate", "--data", "-"], "a pipe can be read only once"),
    ],
    ids=lambda words: "_".join(words) if isinstance(words, list) else "",
)
def test_options_that_make_no_sense_end_in_one_line(
    trained: Trained, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.folder)
    one_line(trained(*words), message)


def test_a_column_of_the_rows_is_not_overwritten_by_a_code(trained: Trained, tmp_path: Path) -> None:
    table().assign(z1=1).to_csv(tmp_path / "rows.csv", index=False)
    one_line(trained("encode", str(tmp_path / "rows.csv")), "already have a column 'z1'")


# --- what a spreadsheet makes of it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["codes.csv", "-", "codes.parquet"])
def test_formulas_are_told_of_and_stay_what_they_are(trained: Trained, tmp_path: Path, output: str) -> None:
    """Names and texts such as =cmd|... went into CSV files without a word."""
    rows = table().assign(**{"=1+1": "x", "said": ["=cmd|' /C calc'!A0", "-0.5"] * 30, "level": ["-", "+1e5"] * 30})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    path = output if output == "-" else str(tmp_path / output)
    result = ended_well(trained("encode", str(tmp_path / "rows.csv"), "-o", path))
    told = "A spreadsheet would run names or texts of 2 columns as formulas: =1+1, said." in result.stderr
    assert told == (output != "codes.parquet")
    if output == "codes.csv":
        assert pd.read_csv(path)[["=1+1", "said"]].equals(rows[["=1+1", "said"]])
