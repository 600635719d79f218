"""Families that nothing but their own file, yaml and test knows of, through everything that the program does."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from tests.conftest import Run
from tests.sweeps.sweeping import words
from vae_lightning import VAEEstimator, load
from vae_lightning.cli import main as cli
from vae_lightning.export.export import FORMATS, export
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.support import REAL
from vae_lightning.objectives.base import Objective
from vae_lightning.posteriors.base import PosteriorFamily
from vae_lightning.priors.base import Prior
from vae_lightning.sweeps import figures

GROUPS = {"likelihood": Likelihood, "posterior": PosteriorFamily, "prior": Prior, "objective": Objective}
EVERYWHERE = {"bernoulli", "continuous_bernoulli", "gaussian"}
"""Likelihoods that the other tests use; every other one in the folder is taken through the program here."""
TYPED = {
    "poisson": ["objective=iwae", "objective.num_samples=3", "prior=mixture"],
    "gamma": ["optimizer.lr=0.05"],
    "zero_inflated": ["optimizer.lr=0.05"],
    "laplace": ["likelihood.scale=optimal", "prior=mixture", "prior.num_components=3"],
}
OWN_PARAMETERS = {"negative_binomial": 3.0, "gamma": 3.0, "log_normal": -1.0, "zero_inflated": 3.0, "student_t": -2.0}
OWN_PARAMETERS |= {"beta": 3.0, "discretized_logistic": -3.0}
"""Of families whose noise at their first values would leave a hidden variable little to say."""
CASES = [name for name in Likelihood.families() if name not in EVERYWHERE]
SHORT = ["trainer.max_epochs=40", "scheduler.epochs=40", "optimizer.lr=0.02"]


def quick(case: str, format: str) -> bool:
    """Graphs take seconds to trace, and tests/export traces those of every family, if without a learned prior."""
    return format == "safetensors" or (format == "onnx" and case != "laplace")


EXPORTS = [
    pytest.param(case, format, marks=[] if quick(case, format) else pytest.mark.long)
    for case in CASES
    for format in FORMATS
]


def rows_of(case: str) -> pd.DataFrame:
    """Three hundred draws of the family itself, five columns that one hidden variable moves."""
    torch.manual_seed(0)
    likelihood = Likelihood.families()[case](num_columns=5)
    for parameter in likelihood.parameters():
        parameter.data.fill_(OWN_PARAMETERS.get(case, 0.0))
    support = likelihood.supports[0]
    # Real numbers are told their location, categories the logit of the first of them, all others a logarithm.
    strength = 5.0 if support == REAL or support.levels else 1.0
    # With two or three levels 30 test rows must tell the model from independent columns.
    strength = 7.0 if case in ("categorical", "ordinal") else strength
    slope = strength * torch.tensor([1.0, -0.8, 0.6, -0.5, 0.4])
    raw = torch.full((300, likelihood.raw_size), -2.0 if case == "zero_inflated" else 0.0)  # few zeros but its own
    step = likelihood.raw_size // 5 if support.levels else 1
    raw[:, : 5 * step : step] = torch.linspace(0, 3, 5) + slope * torch.randn(300, 1)
    if case == "discretized_logistic":
        raw /= 4  # all of its range lies between -1 and 1
    values = likelihood(raw).sample().double().numpy()
    if support.is_probability:
        values = values.astype(np.int64)
    return pd.DataFrame(values, columns=[f"{case}_{i}" for i in range(5)])


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def table(case: str, made_once: Callable[..., Path]) -> Path:
    def write(folder: Path) -> None:
        rows_of(case).to_csv(folder / "rows.csv", index=False)

    return made_once(f"family-{case}-table", write) / "rows.csv"


@pytest.fixture
def typed(case: str, table: Path) -> list[str]:
    return ["data=table", f"data.path={table}", f"likelihood={case}", *SHORT, *TYPED.get(case, [])]


@pytest.fixture
def run(case: str, typed: list[str], train: Callable[..., Run], made_once: Callable[..., Path]) -> Path:
    """A run with everything that a run writes. Read only."""
    made = made_once(f"family-{case}", lambda folder: train(folder / "run", *typed, "callbacks.figures=", "report="))
    return made / "run"


def command(*words: object) -> str:
    result = CliRunner().invoke(cli.main, [str(word) for word in words])
    assert result.exit_code == 0, f"{words}\n{result.output}"
    return result.stdout


def test_it_learns_and_says_what_its_numbers_mean(case: str, run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test"]["nll"] < summary["test"]["baseline"] - 0.2
    assert summary["test"]["entropy_floor"] <= summary["test"]["nll"] <= summary["test"]["nelbo"] + 0.1
    model = load(run)
    kind = "probability" if model.vae.likelihood.is_probability else "density"
    assert summary["reference_measure"]["kind"] == kind
    assert model.vae.likelihood.name() == case


def test_it_leaves_figures_and_a_report(case: str, run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert f"likelihood {case}" in page
    assert page.count("<img") == len(list((run / "figures").glob("*.png"))) > 3


def test_a_resumed_run_ends_bit_equal_to_an_unbroken_one(
    typed: list[str], run: Path, train: Callable[..., Run], tmp_path: Path
) -> None:
    torn = tmp_path / "torn"
    train(torn, *typed, "trainer.max_epochs=4")
    train(torn, *typed, f"resume={torn}")
    whole, again = (torch.load(at / "checkpoints" / "last.ckpt", weights_only=True) for at in (run, torn))
    for part in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(again[part], whole[part], rtol=0, atol=0)
    one, other = (json.loads((at / "summary.json").read_text()) for at in (run, torn))
    assert one["test"] == other["test"]


def test_every_command_takes_it(case: str, table: Path, run: Path, tmp_path: Path) -> None:
    rows = rows_of(case)
    names = list(rows.columns)
    command("sample", run, "-n", 500, "--seed", 1, "-o", tmp_path / "new.csv")
    command("encode", run, table, "--std", "-o", tmp_path / "codes.csv")
    command("reconstruct", run, table, "-o", tmp_path / "again.csv")
    command("score", run, table, "--by-column", "--kind", "nll", "--threshold", "0.9", "-o", tmp_path / "scores.csv")
    new, codes, again, scores = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("new", "codes", "again", "scores"))
    assert list(new.columns) == list(again.columns) == names
    assert list(new.dtypes) == list(rows.dtypes)
    # A likelihood read wrongly would draw with another spread than the data have.
    assert (new.std() / rows.std()).between(0.6, 1.6).all()
    assert len(codes) == len(again) == len(scores) == len(rows)
    assert codes.notna().all(axis=None)
    columns = [f"nats_{name}" for name in names]
    np.testing.assert_allclose(scores["anomaly_score"], scores["kl"] + scores[columns].sum(axis=1), rtol=1e-5)
    assert 0.02 < scores["is_anomaly"].mean() < 0.3
    evaluated = json.loads(command("evaluate", run, "--json", "--samples", 50))
    recorded = json.loads((run / "summary.json").read_text())["test"]
    assert evaluated["nll"] == pytest.approx(recorded["nll"], abs=0.2)
    assert evaluated["baseline"] == pytest.approx(recorded["baseline"], rel=1e-6)
    assert case in command("info", run)


def test_the_doctor_finds_no_fault_with_it(case: str, table: Path, run: Path) -> None:
    report = json.loads(command("doctor", run, "--json"))
    assert not [finding for finding in report["findings"] if finding["ok"] is not True]
    told = command("doctor", "--data", table, "--likelihood", case)
    assert all(f"likelihood={name}" in told for name in Likelihood.families())


@pytest.mark.parametrize(("case", "format"), EXPORTS, indirect=["case"])
def test_every_export_agrees_with_the_model(case: str, run: Path, tmp_path: Path, format: Any) -> None:
    model = load(run)
    done = export(model, tmp_path / "out", format, "nll" if case == "poisson" else "elbo")
    if format == "safetensors":
        rows = rows_of(case)
        np.testing.assert_array_equal(load(done.directory).score(rows), model.score(rows))
        return
    assert [agreement.file.partition(".")[0] for agreement in done.agreements] == ["encoder", "decoder", "score"]
    assert all(agreement.largest < 1e-3 for agreement in done.agreements)


def test_the_estimator_takes_it_by_name(case: str) -> None:
    rows = rows_of(case)
    vae = VAEEstimator(
        case,
        prior={"name": "mixture", "num_components": 3},
        objective="iwae",
        latent_dim=2,
        hidden_dims=(8,),
        max_epochs=8,
        learning_rate=0.02,
        random_state=0,
    ).fit(rows)
    assert vae.transform(rows).shape == (300, 2)
    assert math.isfinite(vae.score(rows))
    assert vae.model_.vae.prior.num_components == 3
    assert vae.model_.record["objective"]["name"] == "iwae"
    assert list(vae.sample(5).columns) == list(rows.columns)


def test_a_sweep_ranks_it_under_two_priors(
    case: str, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figures, "render_sweep", lambda _: b"")  # half of the time of so small a sweep
    threads = torch.get_num_threads()
    overrides = ["data=table", f"data.path={table}", "data.batch_size=64", f"likelihood={case}", "sweep.dir=sweep"]
    try:
        cli.train(words(*overrides, "trainer.max_epochs=1", "prior=standard_normal,mixture", "objective=iwae"))
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)
    with (tmp_path / "sweep" / "sweep.csv").open() as file:
        jobs = list(csv.DictReader(file))
    assert sorted(job["prior"] for job in jobs) == ["mixture", "standard_normal"]
    assert all(job["status"] == "finished" for job in jobs)


def test_help_lists_every_family_of_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    cli.train(["--help"])
    told = capsys.readouterr().out
    for group, base in GROUPS.items():
        names = sorted({*base.families(), *({"auto"} if group == "likelihood" else ())})
        assert f"{group}: {', '.join(names)}" in told
