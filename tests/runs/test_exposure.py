"""A run whose counts have an exposure: from the file to scores, draws and imputed cells."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from click.testing import CliRunner

from tests.runs.commands import RunOfFolder, refused
from vae_lightning import load
from vae_lightning.cli.main import main
from vae_lightning.errors import ConfigError, DataError
from vae_lightning.export.export import export

RATES, SLOPES = np.array([0.5, 2.0, 5.0, 20.0]), np.array([0.6, -0.5, 0.3, 0.6])
NAMES = ["a", "b", "c", "d"]
GRID = np.linspace(-6, 6, 1201)


def table(num_rows: int, seed: int, exposure: float | None = None) -> pd.DataFrame:
    """Counts whose rates depend on one normal number, seen for times that vary by a factor of twenty."""
    draws = np.random.default_rng(seed)
    time = np.exp(draws.normal(0, 0.8, num_rows)).round(4) if exposure is None else np.full(num_rows, exposure)
    rates = RATES * np.exp(draws.normal(size=(num_rows, 1)) * SLOPES)
    rows = pd.DataFrame(draws.poisson(time[:, None] * rates), columns=NAMES)
    rows.insert(1, "time", time)
    return rows


def true_nll(rows: pd.DataFrame) -> np.ndarray:
    """-log p(counts | time) of each row, by a sum over z."""
    mean = rows["time"].to_numpy()[:, None] * (RATES * np.exp(GRID[:, None] * SLOPES))[:, None]
    log_px = scipy.stats.poisson(mean).logpmf(rows[NAMES].to_numpy()).sum(-1)
    weights = scipy.stats.norm.logpdf(GRID) + np.log(GRID[1] - GRID[0])
    return -np.logaddexp.reduce(log_px + weights[:, None])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exposed")
    table(2500, 0).to_csv(folder / "rows.csv", index=False)
    table(1000, 1).to_csv(folder / "test.csv", index=False)
    return folder


def words_for(files: Path, *more: str) -> list[str]:
    words = ["data=table", f"data.path={files / 'rows.csv'}", f"data.test_path={files / 'test.csv'}"]
    words += ["model.latent_dim=2", "model.hidden_dims=[32]", "trainer.max_epochs=60", "optimizer.lr=0.003"]
    return [*words, "data.batch_size=64", *more]


@pytest.fixture(scope="module")
def exposed(train: Callable[..., Any], files: Path) -> RunOfFolder:
    words = words_for(files, "data.exposure=time", "likelihood=poisson", "callbacks.figures=", "report=true")
    return RunOfFolder(train(files / "run", *words), files)


def test_known_rates_are_found_and_rows_without_their_exposure_cost_more(
    exposed: RunOfFolder, train: Callable[..., Any], files: Path
) -> None:
    test = pd.read_csv(files / "test.csv")
    found = exposed.run.summary["test"]
    truth = true_nll(test).mean()
    assert found["nll"] == pytest.approx(truth, abs=0.06)
    assert found["nelbo"] < truth + 0.15, "the encoder knows how long a row was seen"
    without = train(files / "without", *words_for(files, "data.drop=[time]", "likelihood=poisson"))
    assert without.summary["test"]["nll"] > truth + 0.5
    assert found["control"] < without.summary["test"]["control"] - 0.5
    assert found["baseline"] < without.summary["test"]["baseline"] - 0.5
    assert "told no condition" not in found["control_words"]


def test_counts_are_proportional_to_the_exposure_of_their_row(exposed: RunOfFolder) -> None:
    model = exposed.model
    for time in (0.25, 8.0):
        rows, real = model.sample(6000, seed=0, where={"time": time}), table(6000, 5, time)
        assert (rows["time"] == time).all()
        np.testing.assert_allclose(rows[NAMES].mean(), real[NAMES].mean(), rtol=0.12)
        np.testing.assert_allclose(rows[NAMES].std(), real[NAMES].std(), rtol=0.2)
    codes = np.zeros((1, 2))
    one, ten = (model.decode(codes, where={"time": time}) for time in (1, 10))
    np.testing.assert_allclose(ten, 10 * one, rtol=1e-5)
    rows = model.sample(6000, seed=0)
    assert list(rows.columns) == ["a", "time", *NAMES[1:]]
    assert set(rows["time"]) <= set(pd.read_csv(exposed.path("rows.csv"))["time"])
    np.testing.assert_allclose(rows[NAMES].mean(), table(6000, 6)[NAMES].mean(), rtol=0.12)


def test_a_row_is_scored_and_filled_for_its_own_exposure(exposed: RunOfFolder) -> None:
    model, rows = exposed.model, table(200, 7)
    np.testing.assert_allclose(-model.log_prob(rows, 500).mean(), true_nll(rows).mean(), atol=0.1)
    longer = rows.assign(time=10 * rows["time"])
    assert model.score(longer).mean() > model.score(rows).mean() + 3
    filled = [
        model.impute(part.assign(d=np.nan), seed=0, mean=True)["d"] for part in (table(200, 8, 1), table(200, 8, 9))
    ]
    assert filled[1].mean() / filled[0].mean() == pytest.approx(9, rel=0.2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda model: model.score(table(9, 0).drop(columns="time")), "The rows lack 1 of the 5 columns .*: 'time'"),
        (
            lambda model: model.score(table(9, 0).assign(time=0)),
            "'time' must hold numbers above 0, as it is the exposure",
        ),
        (
            lambda model: model.encode(table(9, 0).assign(time=None)),
            "missing in 'time'.* It is the exposure, which every",
        ),
        (lambda model: model.impute(table(9, 0).assign(time=-1)), "'time' must hold numbers above 0"),
        (lambda model: model.sample(3, where={"time": 0}), "'time' must be a number above 0. Got 0 instead"),
        (lambda model: model.sample(3, where={"time": "long"}), "'time' must be a number. Got 'long' instead"),
        (lambda model: model.sample(3, given={"time": 2}), "is a condition: fix it with --where time=VALUE"),
    ],
)
def test_rows_without_a_usable_exposure_are_refused(exposed: RunOfFolder, call: Callable[..., Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        call(exposed.model)


def test_commands_read_and_write_exposures(exposed: RunOfFolder) -> None:
    source = exposed.path("test.csv")
    for command in ("encode", "score", "reconstruct", "impute"):
        result = exposed(command, source, "-o", exposed.path("out.csv"))
        assert result.exit_code == 0, result.output
    result = exposed("sample", "-n", "50", "--where", "time=3", "-o", exposed.path("new.csv"))
    assert result.exit_code == 0, result.output
    assert (pd.read_csv(exposed.path("new.csv"))["time"] == 3).all()
    assert exposed("score", exposed.path("new.csv")).exit_code == 0
    pd.read_csv(source).drop(columns="time").to_csv(exposed.path("lacks.csv"), index=False)
    result = exposed("score", exposed.path("lacks.csv"))
    assert result.exit_code == 2
    assert "'time'" in result.output
    for words in (["evaluate"], ["evaluate", "--data", source, "--samples", "10"], ["doctor"], ["report"], ["info"]):
        result = exposed(*words)
        assert result.exit_code == 0, result.output
    assert "No law is broken." in exposed("doctor").output
    result = exposed("doctor", "--data", source)
    assert "[wrong]" not in result.output, result.output
    assert (
        "Exposure: the mean of each count is proportional to 'time' (a, b, c, d)."
        in (exposed.run.run_dir / "train.log").read_text()
    )
    with pytest.raises(ConfigError, match=r"told a condition \(time\) beside each row, which graphs cannot take"):
        export(exposed.model, exposed.folder / "graphs", "torch")


def test_auto_measures_counts_under_their_exposure_and_takes_other_columns_beside_them(
    train: Callable[..., Any], files: Path
) -> None:
    rows = table(1500, 2)
    kind = np.where(rows["b"] > 2 * rows["time"], "busy", "quiet")
    rows.assign(kind=kind, place=np.arange(1500) % 2, size=rows["time"].rank() / 7).to_csv(
        files / "mixed.csv", index=False
    )
    words = ["data=table", f"data.path={files / 'mixed.csv'}", "data.exposure=time", "data.condition=[place]"]
    run = train(files / "mixed", *words, "likelihood=auto", "trainer.max_epochs=3", "model.hidden_dims=[16]")
    choices = {name: family for name, _, family, _ in run.record["config"]["data"]["choices"]}
    assert {choices[name] for name in NAMES} <= {"poisson", "negative_binomial"}
    assert choices["kind"] == "bernoulli" or choices["kind"].startswith("categorical")
    model = load(run.run_dir)
    assert (model.vae.condition_size, model.vae.told_size) == (3, 2)
    drawn = model.sample(2000, seed=0, where={"time": 5.0, "place": 1})
    assert drawn["d"].mean() > 3 * model.sample(2000, seed=0, where={"time": 1.0, "place": 1})["d"].mean()
    assert run.summary["test"]["control_words"].endswith("(told no condition)")
    result = CliRunner().invoke(main, ["doctor", str(run.run_dir), "--data", str(files / "mixed.csv")])
    assert "[wrong]" not in result.output, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("family", ["gaussian", "ordinal"])
def test_an_exposure_of_what_are_no_counts_is_refused(
    capsys: pytest.CaptureFixture[str], files: Path, family: str
) -> None:
    words = ["data=table", f"data.path={files / 'rows.csv'}", "data.exposure=time"]
    error = refused(capsys, *words, f"likelihood={family}")
    assert "data.exposure: 'time' multiplies the means of counts, and no column has a family of counts" in error
    assert "likelihood=negative_binomial" in error
    assert "There is no setting model.exposed." in refused(capsys, *words, "model.exposed=true")


def test_a_sum_of_what_is_modelled_is_no_exposure_known_before(train: Callable[..., Any], tmp_path: Path) -> None:
    rows = table(200, 3)
    rows.assign(time=rows[NAMES].sum(axis=1) + 1, e=1).to_csv(tmp_path / "rows.csv", index=False)
    words = ["data=table", f"data.path={tmp_path / 'rows.csv'}", "data.exposure=time", "likelihood=poisson"]
    run = train(tmp_path / "run", *words, "trainer.max_epochs=1")
    assert "The exposure 'time' is the sum of the modelled columns" in (run.run_dir / "train.log").read_text()
