"""Commands on a run read a text as the run's own file was written, or as they are told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from vae_lightning import load
from vae_lightning.cli.main import main
from vae_lightning.doctor import examine_data

ROWS = pd.DataFrame(np.random.default_rng(0).normal(1500, 400, (40, 3)).round(3), columns=["a", "b", "c"])
SETTINGS = ["data.decimal=comma", "data.thousands=point", "data.skip_rows=[2]", "data.drop=[name]"]


def european(value: object) -> str:
    return f"{value:,.3f}".translate(str.maketrans(",.", ".,")) if isinstance(value, float) else str(value)


def write(path: Path, rows: pd.DataFrame, units: bool = True) -> Path:
    lines = [";".join(map(european, row)) for row in rows.itertuples(index=False)]
    path.write_text("\n".join([";".join(rows.columns), *(["m;s;kg;-"] if units else []), *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def run(train: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table with units, decimal commas, points between thousands, and names."""
    folder = tmp_path_factory.mktemp("dialects")
    write(folder / "rows.csv", ROWS.assign(name="x"))
    train(folder / "run", "data=table", f"data.path={folder / 'rows.csv'}", *SETTINGS, "trainer.max_epochs=1")
    return folder


def call(*words: object, **options: Any) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words], **options)
    assert result.exit_code in (0, 2), result.output
    return result


def scored(result: Result, path: Path) -> np.ndarray:
    assert result.exit_code == 0, result.output
    return pd.read_csv(path)["anomaly_score"].to_numpy()


def test_the_file_of_the_run_is_read_as_the_run_read_it(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    result = call("score", run / "run", run / "rows.csv", "-o", out)
    np.testing.assert_allclose(scored(result, out), load(run / "run").score(ROWS), rtol=1e-9)
    assert "left out: line 2" in result.stderr


def test_another_file_loses_no_line_that_was_left_out_of_the_first(run: Path, tmp_path: Path) -> None:
    path, out = write(tmp_path / "new.csv", ROWS.assign(name="x"), units=False), tmp_path / "out.csv"
    assert len(scored(call("score", run / "run", path, "-o", out), out)) == 40
    write(path, ROWS.assign(name="x"))
    told = call("score", run / "run", path, "-o", out)
    assert told.exit_code == 2
    assert "'a' must hold numbers: 1 of 41 values are something else, the first 'm' in row 1" in told.stderr
    assert len(scored(call("score", run / "run", path, "data.skip_rows=[2]", "-o", out), out)) == 40


def test_another_file_may_be_written_in_another_way(run: Path, tmp_path: Path) -> None:
    """What a run was told of its own file is no law for others: here a comma is between columns."""
    ROWS.round(1).to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "out.csv"
    words = ["data.decimal=point", "data.thousands=null"]
    found = scored(call("score", run / "run", tmp_path / "new.csv", *words, "-o", out), out)
    np.testing.assert_allclose(found, load(run / "run").score(ROWS.round(1)), rtol=1e-9)
    told = call("score", run / "run", tmp_path / "new.csv", "-o", out)
    assert told.exit_code == 0 or "must hold numbers" in told.stderr  # never other values
    if told.exit_code == 0:
        np.testing.assert_allclose(scored(told, out), found, rtol=1e-9)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.skip_row=2"], "There is no setting data.skip_row. Did you mean 'skip_rows'"),
        (["decimal=comma"], "must be written data.NAME=VALUE. Got 'decimal=comma'"),
        (["data.header=maybe"], "'header' parameter of Table must be true or false or null"),
        (["data.decimal="], "'decimal' parameter of Table must be point or comma"),
        (["data.skip_rows=[2"], "cannot be read"),
    ],
    ids=lambda words: str(words)[:20],
)
def test_settings_that_make_no_sense_end_in_one_line(run: Path, words: list[str], message: str) -> None:
    told = call("encode", run / "run", run / "rows.csv", *words)
    assert told.exit_code == 2
    assert message in told.stderr
    assert told.stderr.count("\n") == 1


def test_a_run_before_the_doctor_with_other_rows(run: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", str(run / "run"), "--data", str(run / "rows.csv")])
    assert "hold no numbers" not in result.output
    assert "NELBO" in result.output or "nats" in result.output


def test_an_output_onto_its_input_is_refused(run: Path, tmp_path: Path) -> None:
    """It replaced the rows without a word."""
    path = write(tmp_path / "new.csv", ROWS.assign(name="x"), units=False)
    (tmp_path / "link.csv").symlink_to(path)
    whole = path.read_text()
    for command in ("encode", "score", "reconstruct"):
        for output in (path, tmp_path / "link.csv"):
            told = call(command, run / "run", path, "-o", output)
            assert "is the input: name another file" in told.stderr
    assert path.read_text() == whole


def test_rows_with_a_cut_off_end_are_scored_by_no_command(run: Path, tmp_path: Path) -> None:
    """Values moved into the columns beside them, and rows that were cut off were filled up."""
    path = write(tmp_path / "new.csv", ROWS.assign(name="x"), units=False)
    whole = path.read_text()
    for odd, told in (("1,5;2,5", "has 2 fields"), ("1,5;2,5;3;4;x", "has 5 fields")):
        path.write_text(whole + odd)
        for command in ("encode", "score", "reconstruct"):
            assert f"Line 42 of '{path}' {told}, the first line has 4" in call(command, run / "run", path).stderr
        assert told in str(examine_data(path))


def test_a_label_called_is_anomaly_stays(run: Path, tmp_path: Path) -> None:
    """The label of who knows the anomalies was refused; it stands beside what the model found."""
    path = write(tmp_path / "new.csv", ROWS.assign(is_anomaly=7), units=False)
    result = call("score", run / "run", path, "--threshold", "0.5", "-o", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    assert found.columns.tolist() == ["is_anomaly", "anomaly_score", "is_anomaly_found"]
    assert (found["is_anomaly"] == 7).all()
    assert found["is_anomaly_found"].dtype == bool
    assert "is_anomaly_found: above" in result.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("resample", "no"), ("resample", "off"), ("threshold", "abc"), ("header", 1), ("skip_rows", True)],
)
def test_types_of_all_settings_of_rows_are_checked(
    name: str, value: object, compose_config: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """``resample=no`` switched it on, and a threshold of letters was a traceback where it was used at all."""
    from vae_lightning.config.settings import Settings
    from vae_lightning.errors import ConfigError

    config = compose_config(tmp_path, "data=table")
    with pytest.raises(ConfigError, match=f"The '{name}' parameter of .* must be"):
        Settings.parse({**config, "data": {**config["data"], name: value}})


def test_the_doctor_is_told_how_a_table_is_written(tmp_path: Path) -> None:
    path = write(tmp_path / "new.csv", ROWS.assign(d=1.5))
    told = CliRunner().invoke(main, ["doctor", "--data", str(path)])
    assert "data.skip_rows=[2]" in told.output
    result = CliRunner().invoke(main, ["doctor", "--data", str(path), "data.skip_rows=[2]", "data.decimal=comma"])
    assert "cannot be trained on" not in result.output
    assert "4: " in result.output
    wrong = CliRunner().invoke(main, ["doctor", "data.decimal=comma"])
    assert wrong.exit_code == 2
    assert "give it alone, with --data FILE" in wrong.output
