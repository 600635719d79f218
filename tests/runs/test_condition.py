"""A run whose model is told columns of its table: from the file to rows drawn for chosen values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.runs.commands import RunOfFolder, refused
from vae_lightning import load
from vae_lightning.cli.sample import read_cells
from vae_lightning.errors import ConfigError, DataError, RunError
from vae_lightning.export.export import export
from vae_lightning.training.rows import to_batch

MEANS = {("F", 1): (160.0, 55.0), ("F", 3): (160.0, 75.0), ("M", 1): (190.0, 75.0), ("M", 3): (190.0, 95.0)}
SPREAD = 5.0


def table(num_rows: int = 2000) -> pd.DataFrame:
    """Height and weight whose means depend on sex and batch, and which correlate given these."""
    draws = np.random.default_rng(0)
    sex, batch = draws.choice(["F", "M"], num_rows, p=[0.7, 0.3]), draws.choice([1, 3], num_rows)
    height, weight = np.array([MEANS[pair] for pair in zip(sex, batch, strict=True)]).T
    size = draws.normal(size=num_rows)
    return pd.DataFrame(
        {
            "sex": sex,
            "height": height + SPREAD * (0.8 * size + 0.6 * draws.normal(size=num_rows)),
            "batch": batch,
            "weight": weight + SPREAD * (0.8 * size + 0.6 * draws.normal(size=num_rows)),
        }
    )


@pytest.fixture(scope="module")
def conditional(train: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> RunOfFolder:
    """Figures and the report included: a figure that fails fails the test."""
    folder = tmp_path_factory.mktemp("conditional")
    table().to_csv(folder / "rows.csv", index=False)
    words = ["data=table", f"data.path={folder / 'rows.csv'}", "data.condition=[sex,batch]", "trainer.max_epochs=6"]
    words += ["callbacks.figures=", "report=true", "seed=0", "model.latent_dim=1"]
    return RunOfFolder(train(folder / "run", *words), folder)


@pytest.mark.parametrize("start", ["linear", "zero"])
@pytest.mark.parametrize("prior", [False, True])
def test_rows_drawn_where_a_condition_holds_have_its_distribution(
    conditional: RunOfFolder, train: Callable[..., Any], tmp_path: Path, start: str, prior: bool
) -> None:
    model = conditional.model
    if start == "zero":  # what is not given at the start is learned
        path = f"data.path={conditional.path('rows.csv')}"
        words = ["data=table", path, "data.condition=[sex,batch]", "trainer.max_epochs=60", "model.start=zero"]
        model = load(train(tmp_path / "run", *words, "optimizer.lr=0.03", "model.hidden_dims=[16]", "seed=1").run_dir)
    for (sex, batch), mean in MEANS.items():
        rows = model.sample(4000, seed=0, prior=prior, where={"sex": sex, "batch": batch})
        assert (rows["sex"] == sex).all()
        assert (rows["batch"] == batch).all()
        drawn = rows[["height", "weight"]].to_numpy()
        np.testing.assert_allclose(drawn.mean(0), mean, atol=1.5)  # means lie 20 and 30 apart
        np.testing.assert_allclose(drawn.std(0), SPREAD, rtol=0.2)
        assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(0.64, abs=0.15)


def test_without_one_conditions_are_drawn_as_the_table_has_them(conditional: RunOfFolder) -> None:
    rows, real = conditional.model.sample(8000, seed=0), table()
    assert list(rows.columns) == list(real.columns)
    assert rows["batch"].dtype == real["batch"].dtype
    shares = [part.groupby(["sex", "batch"]).size() / len(part) for part in (rows, real)]
    assert (shares[0] - shares[1]).abs().max() < 0.03
    for name in ("height", "weight"):
        assert rows[name].std() == pytest.approx(real[name].std(), rel=0.05)
    some = conditional.model.sample(2000, seed=0, where={"sex": "M"})
    assert (some["batch"] == 3).mean() == pytest.approx(0.5, abs=0.05)


def test_given_cells_and_conditions_go_together(conditional: RunOfFolder) -> None:
    rows = conditional.model.sample(4000, seed=0, given={"height": 190.0})
    assert (rows["sex"] == "M").mean() > 0.97, "so tall a row is a man's"
    rows = conditional.model.sample(4000, seed=0, given={"height": 168.0}, where={"sex": "F", "batch": 1})
    assert rows["weight"].mean() == pytest.approx(55 + 0.64 * 8, abs=1.5)


def test_a_row_is_scored_under_its_own_condition(conditional: RunOfFolder) -> None:
    model, rows = conditional.model, table(40)
    other = rows.assign(sex=rows["sex"].map({"F": "M", "M": "F"}))
    assert (model.score(rows) < model.score(other)).all()
    assert (model.log_prob(rows, 50) > model.log_prob(other, 50)).all()
    again = model.reconstruct(rows)
    assert list(again.columns) == ["height", "weight"]
    assert (rows["height"] - again["height"]).abs().mean() < SPREAD


def test_an_array_has_the_columns_of_the_file(conditional: RunOfFolder) -> None:
    model, rows = conditional.model, table(40)
    array = rows.assign(sex=(rows["sex"] == "M").astype(float)).to_numpy(dtype=float)
    np.testing.assert_array_equal(model.score(array), model.score(rows).to_numpy())
    np.testing.assert_array_equal(model.encode(array), model.encode(rows).to_numpy())
    with pytest.raises(DataError, match=r"shape \(N, 4\)"):
        model.score(array[:, 1:])


def test_holes_are_filled_under_the_condition_of_their_row(conditional: RunOfFolder) -> None:
    model, rows = conditional.model, table(60)
    holes = rows.assign(height=np.nan)
    filled = model.impute(holes, seed=0)
    pd.testing.assert_frame_equal(filled.drop(columns="height"), rows.drop(columns="height"))
    assert (filled["height"] - rows["height"]).abs().max() < 20, "the sexes lie 30 apart"
    array = holes.assign(sex=(rows["sex"] == "M").astype(float)).to_numpy(dtype=float)
    np.testing.assert_allclose(model.impute(array, seed=0)[:, 1], filled["height"])
    with pytest.raises(DataError, match="60 of 60 values of the rows are missing in 'sex'"):
        model.impute(holes.assign(sex=None))


def test_codes_are_decoded_under_a_condition(conditional: RunOfFolder) -> None:
    model, codes = conditional.model, np.zeros((1, 1))
    men = model.decode(codes, where={"sex": "M", "batch": 3})
    np.testing.assert_allclose(men[0], MEANS["M", 3], atol=2)
    np.testing.assert_allclose(model.decode(codes)[0, 0], 160, atol=2)  # the commonest is a woman's


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"sex": "X"}, "The column 'sex' must be one of 'F', 'M'. Got 'X' instead."),
        ({"batch": 2}, "The column 'batch' must be one of 1, 3. Got 2 instead."),
        ({"batch": "many"}, "The column 'batch' must be one of 1, 3. Got 'many' instead."),
        ({"hight": 1}, "The model has no condition 'hight'. There are 'sex', 'batch'."),
        ({"height": 1}, "The column 'height' is modelled: fix it with --given height=VALUE, or given={...}."),
    ],
)
def test_unknown_conditions_are_told_with_the_known_ones(conditional: RunOfFolder, where: dict, words: str) -> None:
    with pytest.raises(DataError) as caught:
        conditional.model.sample(3, where=where)
    assert str(caught.value) == words


def test_other_misuse_is_told(conditional: RunOfFolder, gaussian_run: Any) -> None:
    with pytest.raises(DataError, match="The column 'sex' is a condition: fix it with --where sex=VALUE"):
        conditional.model.sample(3, given={"sex": "F"})
    with pytest.raises(DataError, match="The model has no conditions, so that nothing can be drawn where sex=F"):
        load(gaussian_run.run_dir).sample(3, where={"sex": "F"})
    with pytest.raises(DataError, match="'sex' must hold one of 2 known texts"):
        conditional.model.score(table(9).assign(sex="X"))
    with pytest.raises(DataError, match="'batch' must hold one of 1, 3: 9 of 9 values"):
        conditional.model.score(table(9).assign(batch=2))
    with pytest.raises(DataError, match="9 of 9 values of the rows are missing in 'sex'"):
        conditional.model.score(table(9).assign(sex=None))
    with pytest.raises(DataError, match="The rows lack 1 of the 4 columns"):
        conditional.model.score(table(9).drop(columns="sex"))


def test_commands_read_and_write_conditions(conditional: RunOfFolder) -> None:
    source = conditional.path("rows.csv")
    for command in ("encode", "score", "reconstruct"):
        result = conditional(command, source, "-o", conditional.path("out.csv"))
        assert result.exit_code == 0, result.output
        assert "does not know" not in result.output
        assert list(pd.read_csv(conditional.path("out.csv")).columns[:1]) == ["sex"]
    result = conditional("sample", "-n", "50", "--where", "sex=F,batch=3", "-o", conditional.path("new.csv"))
    assert result.exit_code == 0, result.output
    rows = pd.read_csv(conditional.path("new.csv"))
    assert rows[["sex", "batch"]].drop_duplicates().to_numpy().tolist() == [["F", 3]]
    assert conditional("score", conditional.path("new.csv")).exit_code == 0
    result = conditional("sample", "-n", "5", "--given", "height=165", "-o", conditional.path("new.csv"))
    assert "Given height=165: effective sample size" in result.output
    assert (pd.read_csv(conditional.path("new.csv"))["height"] == 165).all()
    result = conditional("sample", "--where", "sex")
    assert result.exit_code == 2
    assert "The option --where must be NAME=VALUE. Got 'sex' instead." in result.output
    assert "condition" in conditional("info").output
    for words in (["evaluate"], ["evaluate", "--data", source, "--samples", "10"], ["doctor"], ["report"]):
        result = conditional(*words)
        assert result.exit_code == 0, result.output
    assert "No law is broken." in conditional("doctor").output
    assert "factor analysis" in conditional.run.summary["test"]["control_words"]
    assert conditional.run.summary["test"]["control_words"].endswith("(told no condition)")
    result = conditional("doctor", "--data", source)
    assert "[wrong]" not in result.output, result.output


def test_cells_are_read_from_words() -> None:
    assert read_cells("given", ["a=1, 2", "b = c=d"]) == {"a": "1, 2", "b": "c=d"}
    assert read_cells("where", ["a=1,b=x, y", "c=3"], ["a", "b", "c"]) == {"a": "1", "b": "x, y", "c": "3"}
    with pytest.raises(ConfigError, match=r"must name each column once\. Got 'a' twice"):
        read_cells("where", ["a=1,a=2"], ["a"])


def test_a_run_ends_with_its_report_and_pictures(conditional: RunOfFolder) -> None:
    names = {path.stem for path in (conditional.run.run_dir / "figures").glob("*.png")}
    assert {"marginals", "correlations", "worst_columns", "codes"} <= names
    assert (conditional.run.run_dir / "report.html").is_file()


def test_a_checkpoint_and_safetensors_hold_the_conditions(conditional: RunOfFolder, tmp_path: Path) -> None:
    model = conditional.model
    record = conditional.run.record["config"]["condition"]
    assert record["columns"] == [["sex", "object", ["F", "M"]], ["batch", "int64"]]
    assert record["known"] == [[0, 1], [1, 3]]
    export(model, tmp_path / "module", "safetensors")
    again = load(tmp_path / "module")
    drawn = [one.sample(20, seed=0, where={"sex": "F"}) for one in (model, again)]
    pd.testing.assert_frame_equal(*drawn)
    with pytest.raises(ConfigError, match=r"told a condition \(sex, batch\) beside each row, which graphs cannot take"):
        export(model, tmp_path / "graphs", "torch")
    assert not (tmp_path / "graphs").exists()


def test_a_run_is_gone_on_with_only_on_the_same_conditions(train: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    table(300).to_csv(path, index=False)
    words = ["data=table", f"data.path={path}", "data.condition=[sex]", "data.drop=[batch]"]
    train(tmp_path / "run", *words, "trainer.max_epochs=1")
    resumed = train(tmp_path / "run", *words, "trainer.max_epochs=2", "resume=true")
    assert resumed.summary["epochs"] == 2
    whole = train(tmp_path / "whole", *words, "trainer.max_epochs=2")
    for name, value in whole.weights().items():
        torch.testing.assert_close(resumed.weights()[name], value, rtol=1e-4, atol=1e-5)
    table(300).iloc[::-1].assign(sex="F").to_csv(path, index=False)
    with pytest.raises(RunError, match="The rows are not those"):
        train(tmp_path / "run", *words, "trainer.max_epochs=3", "resume=true")


def test_a_loader_yields_rows_with_their_conditions(conditional: RunOfFolder) -> None:
    model, rows = conditional.model, table(64)
    array = rows.assign(sex=(rows["sex"] == "M").astype(float)).to_numpy(dtype=float)
    expected = model.model_units(rows)
    for found, part in zip(to_batch(model, [torch.from_numpy(array)], checked=True), expected, strict=True):
        assert part is found is None or torch.equal(found, part)


def test_the_size_of_a_condition_is_no_setting(capsys: pytest.CaptureFixture[str], conditional: RunOfFolder) -> None:
    words = ["data=table", f"data.path={conditional.path('rows.csv')}", "data.condition=[sex]"]
    assert "There is no setting model.condition_size." in refused(capsys, *words, "model.condition_size=3")


def test_a_level_that_no_training_row_has_is_told_and_refused(train: Callable[..., Any], tmp_path: Path) -> None:
    table(300).to_csv(tmp_path / "train.csv", index=False)
    table(40).assign(sex="X").to_csv(tmp_path / "test.csv", index=False)
    words = ["data=table", f"data.path={tmp_path / 'train.csv'}", f"data.test_path={tmp_path / 'test.csv'}"]
    run = train(tmp_path / "run", *words, "data.condition=[sex]", "trainer.max_epochs=1")
    log = (run.run_dir / "train.log").read_text()
    assert "No training row has 'X' in 'sex': of such rows the model is told nothing of 'sex'." in log
    with pytest.raises(DataError, match=r"must be one of 'F', 'M'\. Got 'X' instead"):
        load(run.run_dir).sample(3, where={"sex": "X"})
