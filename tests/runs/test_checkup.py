"""A trained run before the doctor: a sound one is sound, and each spoiled one is found by its code."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from vae_lightning.config.record import recorded_dataset
from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.doctor.runs.trained import Trained, examine_model
from vae_lightning.inference.model import VAEModel
from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.scale import SCALE_KINDS
from vae_lightning.likelihoods.support import REAL, UNIT
from vae_lightning.objectives.elbo import ELBO
from vae_lightning.posteriors.gaussian import DiagonalGaussian
from vae_lightning.runs import checkup
from vae_lightning.runs.checkup import examine_run
from vae_lightning.runs.loading import load
from vae_lightning.training.datamodule import VectorDataModule


@pytest.fixture
def sound(gaussian_run) -> Trained:
    model = load(gaussian_run.run_dir)
    dataset = recorded_dataset(gaussian_run.record["config"], [column.name for column in model.columns])
    rows = VectorDataModule(dataset, model.scaling).rows
    return Trained(model, rows["train"], RowsInMemory.of(rows["test"].batches()).rows, ELBO())


@pytest.mark.parametrize("name", ["gaussian_run", "bernoulli_run"])
def test_a_sound_run_is_sound(name: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(name)
    report = examine_run(run.run_dir)
    # After twenty epochs a model may still improve, or be no better than the control: no fault of its formulas.
    assert set(report.codes) <= {"UNDERTRAINED"}, str(report)
    assert {finding.code for finding in report.unjudged} <= {"LINEAR"}, str(report)
    recorded = next(finding for finding in report if finding.about == "checkpoint")
    assert recorded.evidence["now"] == pytest.approx(recorded.evidence["recorded"], abs=1e-5)
    assert {"SUPPORT", "UNNORMALISED", "ESTIMATOR", "BELOW-FLOOR", "MISMATCH", "EVAL", "Z-UNUSED", "COLLAPSE"} <= {
        finding.code for finding in report
    }


def test_few_bits_are_enumerated(train, tmp_path) -> None:
    bits = (np.random.default_rng(0).random((200, 6)) < 0.4).astype(int)
    np.save(tmp_path / "bits.npy", bits)
    run = train(tmp_path / "run", "data=table", f"data.path={tmp_path / 'bits.npy'}", "likelihood=bernoulli")
    total = next(finding for finding in examine_run(run.run_dir) if finding.about == "p(x)")
    assert total.ok
    assert total.evidence["sum"] == pytest.approx(1, abs=0.02)


def test_every_family_is_sound_on_data_of_its_own(train, tmp_path) -> None:
    """p(x|z) of every likelihood and way to set its scale integrates to one; so does every posterior and prior."""
    draws = np.random.default_rng(0)
    rows = {
        "poisson": draws.poisson(draws.gamma(2, 20, (200, 3))),
        "bernoulli": draws.integers(0, 2, (200, 3)),
    }
    scales = {"gaussian": "variance", "laplace": "scale"}
    choices = [[f"likelihood={name}"] for name in Likelihood.families() if name not in scales]
    choices += [
        [f"likelihood={name}", f"likelihood.{key}={kind}"] for name, key in scales.items() for kind in SCALE_KINDS
    ]
    choices += [["likelihood=gaussian", "prior=mixture"], ["likelihood=gaussian", "objective=iwae"]]
    for number, choice in enumerate(choices):
        name = choice[0].partition("=")[2]
        path = tmp_path / f"{number}.npy"
        family = Likelihood.named(name, "likelihood")(3)
        torch.manual_seed(number)
        own = family(torch.zeros(200, family.raw_size)).sample().numpy()
        np.save(path, rows.get(name, draws.random((200, 3)) if family.supports[0] in (REAL, UNIT) else own))
        run = train(tmp_path / str(number), "data=table", f"data.path={path}", "trainer.max_epochs=1", *choice)
        report = examine_run(run.run_dir)
        # After one epoch a model may have learned nothing yet, which is no fault of its formulas.
        assert set(report.codes) <= {"COLLAPSE", "BASELINE", "LINEAR", "Z-UNUSED"}, (choice, str(report))
        mass = next(finding for finding in report if finding.about == "p(x|z)")
        assert mass.ok, (choice, str(mass))


def spoiled(model: VAEModel, **changes: object) -> VAEModel:
    for name, value in changes.items():
        object.__setattr__(model.vae, name, value)
    return model


def test_collapse_is_found(sound: Trained) -> None:
    with torch.no_grad():
        for name, parameter in sound.model.vae.named_parameters():
            if name.startswith(("heads", "linear", "output.weight")):
                parameter.zero_()
    codes = examine_model(sound).codes
    assert {"COLLAPSE", "BASELINE", "Z-UNUSED"} <= set(codes)


def test_posterior_that_draws_with_another_deviation_is_found(sound: Trained) -> None:
    encode = sound.model.vae.encode

    class Wide(DiagonalGaussian):
        def rsample(self, noise: torch.Tensor) -> torch.Tensor:
            return self.mean + self.stddev.square() * noise

    def wide(batch: Batch) -> Wide:
        q = encode(batch)
        return Wide(q.mean, q.log_var, q.log_var_bound)

    spoiled(sound.model, encode=wide)
    assert "MISMATCH" in examine_model(sound).codes


def test_density_that_does_not_integrate_to_one_is_found(sound: Trained) -> None:
    forward = sound.model.vae.likelihood.forward

    def bold(raw: torch.Tensor) -> Predictive:
        p = forward(raw)

        class Bold(type(p)):  # type: ignore[misc]
            __slots__ = ()

            def log_prob(self, x: torch.Tensor) -> torch.Tensor:
                return super().log_prob(x) + 0.5

        return Bold(p.distribution)

    sound.model.vae.likelihood.forward = bold  # type: ignore[method-assign]
    assert "UNNORMALISED" in examine_model(sound).codes


def test_bound_at_its_floor_and_beyond(sound: Trained) -> None:
    with torch.no_grad():
        sound.model.vae.likelihood.scale.raw_log_var.fill_(-1e6)
    assert "AT-FLOOR" in examine_model(sound).codes
    assert "BASELINE" in examine_model(sound).codes


def test_log_variance_at_its_bound_is_found(sound: Trained) -> None:
    size = sound.model.vae.latent_dim
    with torch.no_grad():
        sound.model.vae.heads.bias[size:] = -1e3
    assert "AT-BOUND" in examine_model(sound).codes


def test_function_that_differs_in_training_is_found(sound: Trained) -> None:
    vae, decode = sound.model.vae, sound.model.vae.decode
    spoiled(sound.model, decode=lambda z, condition=None: decode(z * (1.5 if vae.training else 1.0), condition))
    report = examine_model(sound)
    assert "EVAL" in report.codes


def test_parameter_that_nothing_reaches_is_named(sound: Trained) -> None:
    sound.model.vae.extra = torch.nn.Linear(2, 2)
    (finding,) = [one for one in examine_model(sound).wrong if one.code == "Z-UNUSED"]
    assert "extra.weight" in finding.says


def test_gradient_that_is_not_finite_is_found(sound: Trained) -> None:
    decode = sound.model.vae.decode
    spoiled(sound.model, decode=lambda z, condition=None: decode(z + 0 * torch.sqrt(0 * z.abs()), condition))
    assert "OVERFLOW" in examine_model(sound).codes


def test_rows_outside_the_support_end_the_examination(sound: Trained) -> None:
    report = examine_model(replace(sound, test=Batch(torch.full_like(sound.test.x, torch.nan))))
    assert report.codes == ("SUPPORT",)


def test_weight_that_was_meant_is_said_not_accused(sound: Trained) -> None:
    report = examine_model(replace(sound, objective=ELBO(beta=4.0)))
    assert report.ok
    assert "4 × KL" in next(finding.says for finding in report if finding.code == "SCALE")


def test_nothing_of_the_model_is_changed(sound: Trained) -> None:
    before = {name: value.clone() for name, value in sound.model.state_dict().items()}
    state = torch.get_rng_state()
    first = examine_model(sound).to_json()
    assert examine_model(sound).to_json() == first
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in sound.model.state_dict().items())
    assert not sound.model.training
    assert all(parameter.grad is None for parameter in sound.model.parameters())


def copied(run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run.run_dir, tmp_path / "copy"))


def test_other_weights_than_the_record_are_found(gaussian_run, tmp_path) -> None:
    run_dir = copied(gaussian_run, tmp_path)
    path = run_dir / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["model.vae.output.bias"] += 1.0
    path.unlink()
    torch.save(checkpoint, path)
    assert "EVAL" in examine_run(run_dir).codes


def test_other_rows_can_be_given(gaussian_run, tmp_path) -> None:
    names = [name for name, _ in gaussian_run.record["columns"]]
    x = np.random.default_rng(0).normal(size=(300, len(names)))
    pd.DataFrame(x, columns=names).assign(label="a").to_csv(tmp_path / "rows.csv", index=False)
    report = examine_run(gaussian_run.run_dir, tmp_path / "rows.csv")
    assert "BASELINE" in report.codes  # noise without the correlations that were learned
    assert not [finding for finding in report if finding.about == "checkpoint"]
    missing = examine_run(gaussian_run.run_dir, tmp_path / "none.csv")
    assert missing.exit_status == 2
    assert "--data FILE" in missing[0].advice


def rewrite(run_dir: Path, change) -> Path:
    path = run_dir / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    record = json.loads(checkpoint["vae_lightning"])
    change(record["config"])
    checkpoint["vae_lightning"] = json.dumps(record)
    path.unlink()
    torch.save(checkpoint, path)
    return run_dir


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c["data"]["source"].update(seed=99), "not those that the run was trained on"),
        (lambda c: c["data"]["source"].update(name="os.system"), "There is no data=os.system"),
        (lambda c: c["data"]["source"].update(name="base"), "There is no data=base"),
        (
            lambda c: c["data"].update(source={"_target_": "os.system"}),
            "rows of os.system, which is none of",
        ),
        (lambda c: c["data"].pop("source"), "was trained on rows from memory, which are not recorded"),
    ],
)
def test_rows_that_cannot_be_trusted_are_not_judged(gaussian_run, tmp_path, change, told: str) -> None:
    report = examine_run(rewrite(copied(gaussian_run, tmp_path), change))
    assert report.exit_status == 2
    assert told in report[0].says


def test_record_of_another_version_is_survived(gaussian_run, tmp_path) -> None:
    run_dir = rewrite(copied(gaussian_run, tmp_path), lambda c: c["objective"].update(brandnew=1))
    (run_dir / "metrics.csv").write_text("nothing\n")
    report = examine_run(run_dir)
    assert report.ok
    assert "β in training" not in report.measured
    (run_dir / "metrics.csv").unlink()
    assert examine_run(run_dir).ok


def test_no_run_at_all(tmp_path) -> None:
    report = examine_run(tmp_path)
    assert report.exit_status == 2
    assert "holds no checkpoint" in report[0].says


def test_the_numbers_of_the_table_are_repeated_to_the_digit(gaussian_run) -> None:
    """All test rows, the recorded draws: other numbers than the table's would be a second opinion."""
    report, table = examine_run(gaussian_run.run_dir), gaussian_run.summary["test"]
    assert report.measured["NELBO"] == table["nelbo"]
    assert report.measured["independent columns"] == table["baseline"]
    assert report.measured[table["control_words"]] == table["control"]
    assert report.measured["NLL"].startswith(f"{table['nll']:.4f} ± {table['nll_standard_error']:.4f} ")
    assert report.measured["active units"] == f"{table['active_units']} of {table['latent_dim']}"
    assert report.measured["rows judged"].startswith(f"{table['num_rows']} of {table['num_rows']} ")
    again = next(finding for finding in report if finding.about == "table")
    assert again.ok
    assert f"nll {table['nll']:.4f} and {table['nll']:.4f}" in again.says


def test_a_table_of_other_weights_is_found(gaussian_run, tmp_path) -> None:
    run_dir = copied(gaussian_run, tmp_path)
    summary = json.loads((run_dir / "summary.json").read_text())
    summary["test"]["kl"] += 0.1
    (run_dir / "summary.json").write_text(json.dumps(summary))
    assert [finding.about for finding in examine_run(run_dir).wrong] == ["table"]


def test_a_table_too_long_to_compute_again_is_checked_by_its_kl(gaussian_run, monkeypatch) -> None:
    monkeypatch.setattr(checkup, "RECOMPUTED", 1)
    again = next(finding for finding in examine_run(gaussian_run.run_dir) if finding.about == "table")
    assert again.ok
    assert "The rest would take too long." in again.says


@pytest.mark.parametrize("content", ["", "[]", '{"test": 3}', '{"test": {"nll": 1}}'])
def test_a_summary_of_another_version_is_survived(gaussian_run, tmp_path, content: str) -> None:
    run_dir = copied(gaussian_run, tmp_path)
    (run_dir / "summary.json").write_text(content)
    report = examine_run(run_dir)
    assert report.ok, str(report)
    assert not [finding for finding in report if finding.about == "table"]


def test_the_weight_that_training_reached_is_told(train, tmp_path) -> None:
    words = ["objective.warmup=linear", "objective.warmup_epochs=400", "trainer.max_epochs=8"]
    train(tmp_path, *words)
    report = examine_run(tmp_path)
    assert report.measured["β when training ended"] == "0.02 of 1"
    assert "UNDERTRAINED" in report.codes


def test_of_a_single_test_row_no_law_is_broken(train, tmp_path) -> None:
    """A6: a standard error of NaN once made a NELBO above its floor lie below it."""
    np.save(tmp_path / "twelve.npy", np.random.default_rng(0).normal(size=(12, 1)) + np.zeros(5))
    words = ["data=table", f"data.path={tmp_path / 'twelve.npy'}", "data.batch_size=8", "trainer.max_epochs=7"]
    train(tmp_path / "run", *words)
    report = examine_run(tmp_path / "run")
    assert not {"BELOW-FLOOR", "COLLAPSE", "MISMATCH", "BASELINE", "LINEAR"} & set(report.codes), str(report)
