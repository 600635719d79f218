"""One run and its directory: what is written, what is returned, and the laws that the numbers keep."""

import errno
import json
import logging
import resource
import shutil
import signal
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import seed_everything
from torch.distributions import Bernoulli, Normal

from vae_lightning.config.build import build
from vae_lightning.errors import ConfigError, DataError, RunError, UserError
from vae_lightning.runs.loading import load

Train = Callable[..., Any]


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Write 40 correlated rows of the columns a, b, c; ``scale`` and ``shift`` change their units."""

    def write(scale: float = 1.0, shift: float = 0.0) -> Path:
        draws = np.random.default_rng(0)
        z = draws.normal(size=(40, 1))
        x = (z * [1.0, -2.0, 0.5] + 0.3 * draws.normal(size=(40, 3))) * scale + shift
        path = tmp_path / f"rows_{scale:g}_{shift:g}.csv"
        pd.DataFrame(x, columns=["a", "b", "c"]).to_csv(path, index=False)
        return path

    return write


def same_rows_everywhere(path: Path) -> list[str]:
    return ["data=table", f"data.path={path}", f"data.valid_path={path}", f"data.test_path={path}"]


def equal_weights(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


# --- the summary -----------------------------------------------------------------------------------------------------


def test_the_summary_holds_what_a_reader_needs_to_trust_the_number(gaussian_run: Any) -> None:
    summary = gaussian_run.summary
    assert summary["val/nelbo"] == gaussian_run.value
    assert summary["epochs"] == 20
    assert summary["reference_measure"] == {"kind": "density", "rows": None}
    assert summary["overrides"] == [
        "data.num_rows=600",
        "trainer.max_epochs=20",
        "optimizer.lr=0.03",
        "seed=0",
        "callbacks.early_stopping.patience=20",
    ]
    assert summary["data"]["rows"] == {"train": 420, "valid": 60, "test": 120}
    assert summary["data"]["columns"] == 4
    assert summary["data"]["preprocess"] == "standardize"
    assert summary["data"]["fingerprint"] == gaussian_run.record["config"]["data"]["fingerprint"]
    assert summary["seconds"]["training"] > 0
    assert summary["seconds"]["evaluation"] > 0
    assert summary["versions"]["torch"] == version("torch")
    assert summary["versions"]["vae-lightning"] == version("vae-lightning")
    assert summary["warnings"] == []
    # 4·8+8 + 8·4+4 + 2·8+8 + 8·4+4, linear paths of 4·4 + 2·4, 4 learned variances
    parameters = sum(p.numel() for p in load(gaussian_run.run_dir).parameters())
    assert summary["parameters"] == parameters == 40 + 36 + 24 + 36 + 16 + 8 + 4


def test_the_test_table_adds_up(gaussian_run: Any) -> None:
    test = gaussian_run.summary["test"]
    assert test["nelbo"] == pytest.approx(test["reconstruction"] + test["kl"], abs=1e-9)
    assert test["nll_per_column"] == pytest.approx(test["nll"] / 4)
    assert test["bits_per_column"] == pytest.approx(test["nll"] / 4 / np.log(2))
    assert test["nll"] < test["nelbo"] + 3 * test["nll_standard_error"]
    assert test["entropy_floor"] < test["nll"]
    assert (test["num_rows"], test["num_samples"], test["latent_dim"]) == (120, 10, 2)


@pytest.mark.parametrize("name", ["gaussian_run", "bernoulli_run"])
def test_the_model_beats_independent_columns_on_correlated_ones(name: str, request: pytest.FixtureRequest) -> None:
    test = request.getfixturevalue(name).summary["test"]
    assert test["nll"] < test["baseline"] - 0.1


@pytest.mark.parametrize(("name", "words"), [("gaussian_run", "factor analysis"), ("bernoulli_run", "a Chow-Liu tree")])
def test_the_control_is_in_the_summary(name: str, words: str, request: pytest.FixtureRequest) -> None:
    test = request.getfixturevalue(name).summary["test"]
    assert test["control_words"].startswith(words)
    assert test["control"] < test["baseline"] - 0.1
    assert test["explained"] == pytest.approx((test["baseline"] - test["nll"]) / (test["baseline"] - test["control"]))
    assert 0 < test["control_gain_standard_error"] < test["nll_standard_error"]


def test_a_summary_with_one_test_row_is_json(train: Train, tmp_path: Path) -> None:
    """NaN is no JSON: other programs than Python refuse the file."""
    pd.DataFrame(np.random.default_rng(0).normal(size=(12, 3))).add_prefix("x").to_csv(tmp_path / "x.csv", index=False)
    words = [f"data.path={tmp_path / 'x.csv'}", "data.batch_size=4", "trainer.max_epochs=1"]
    run = train(tmp_path / "run", "data=table", *words)
    content = json.loads((run.run_dir / "summary.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert content["test"]["num_rows"] == 1
    assert content["test"]["nll_standard_error"] is None


def test_the_table_and_where_everything_is_are_printed(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    summary = train(tmp_path / "run", "logger=both").summary
    said = capsys.readouterr().out
    for number in (
        f"{summary['test']['nll']:.3f}",
        f"{summary['test']['baseline']:.3f}",
        f"{summary['test']['control']:.3f}",
        f"{summary['val/nelbo']:.3f}",
    ):
        assert number in said
    assert said.rstrip().endswith("tensorboard --logdir run")
    assert "Everything is in run:" in said


def test_no_summary_while_running_and_none_after_failure(train: Train, tmp_path: Path) -> None:
    train(tmp_path)
    seen = []

    def look(*_: Any) -> None:
        seen.append((tmp_path / "summary.json").exists())

    callback = {"_target_": "lightning.pytorch.callbacks.LambdaCallback", "on_train_epoch_start": look}
    with pytest.raises(RuntimeError, match="power"):
        train(tmp_path, look=callback, power=before_epoch(1, RuntimeError("the power goes out")))
    assert seen == [False, False]
    assert not (tmp_path / "summary.json").exists()
    assert not list(tmp_path.rglob(".*.[0-9]*"))


# --- what is returned: law 8 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "objective",
    [
        ["objective.beta=1"],
        ["objective.beta=4"],
        ["objective.beta=0"],
        ["objective.warmup=linear", "objective.warmup_epochs=4"],
        ["objective.warmup=cyclical", "objective.warmup_epochs=2", "objective.num_samples=3"],
    ],
    ids=lambda words: " ".join(words),
)
def test_the_value_is_the_best_epochs_nelbo_whatever_is_trained(
    train: Train, tmp_path: Path, objective: list[str]
) -> None:
    run = train(tmp_path, *objective, "trainer.max_epochs=3", "optimizer.lr=0.1", "model.start=zero")
    seed_everything(run.settings.seed, verbose=False)
    built = build(run.settings)
    start = built.module.measure(built.datamodule.rows["valid"].batches())["nelbo"]
    nelbos = [start, *run.metrics["val/nelbo"]]
    best = run.checkpoint("best")
    states = best["callbacks"].values()
    scores = [float(state["best_model_score"]) for state in states if state.get("monitor") == "val/nelbo"]
    # The checkpoint callback compares float32 numbers.
    assert run.value == pytest.approx(min(nelbos), rel=1e-6)
    # 140 training rows in batches of 32; the weights before the first step are a candidate like any epoch's.
    assert best["global_step"] == 5 * np.argmin(nelbos)
    assert scores == [run.value]
    assert run.summary["val/nelbo"] == run.value


@pytest.mark.parametrize(("beta", "warmup"), [(3.0, "none"), (1.0, "linear")])
def test_the_loss_weighs_the_kl_and_the_nelbo_never_does(
    train: Train, tmp_path: Path, beta: float, warmup: str
) -> None:
    words = ["data.preprocess=none", "data.batch_size=140"]
    run = train(tmp_path, *words, f"objective.beta={beta}", f"objective.warmup={warmup}")
    metrics = run.metrics
    np.testing.assert_allclose(metrics["train/nelbo"], metrics["train/reconstruction"] + metrics["train/kl"], atol=1e-5)
    np.testing.assert_allclose(metrics["val/nelbo"], metrics["val/reconstruction"] + metrics["val/kl"], atol=1e-5)
    weight = (metrics["train/loss"] - metrics["train/reconstruction"]) / metrics["train/kl"]
    expected = [beta, beta] if warmup == "none" else [0.0, 0.1]
    np.testing.assert_allclose(weight, expected, atol=2e-3)


# --- seeds -----------------------------------------------------------------------------------------------------------


def test_a_seed_fixes_every_bit_and_zero_is_a_seed_like_any_other(train: Train, tmp_path: Path) -> None:
    runs = {}
    for name, seed in (("zero", 0), ("zero again", 0), ("one", 1)):
        torch.rand(len(name))  # wherever the global stream stands
        runs[name] = train(tmp_path / name, "data.seed=7", f"seed={seed}", "model.dropout=0.2")
    zero, again, one = (runs[name].weights() for name in runs)
    assert equal_weights(zero, again)
    assert not equal_weights(zero, one)
    assert runs["zero"].summary["test"] == runs["zero again"].summary["test"]
    assert runs["zero"].value != runs["one"].value


TOO_LARGE = 2**32


@pytest.mark.parametrize("seed", [-1, 1.5, True, "x", TOO_LARGE])
def test_a_seed_that_is_none_is_refused(train: Train, tmp_path: Path, seed: Any) -> None:
    with pytest.raises(UserError, match="seed"):
        train(tmp_path, f"seed={seed}")


# --- laws 1, 4 and 7 -------------------------------------------------------------------------------------------------


def by_hand(model: Any, batch: Any, seed: int) -> float:
    """The NELBO of rows in model units written out, with the validation's draws."""
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        vae, posterior = model.vae, model.vae.encode(batch)
        mean, stddev = posterior.mean, posterior.stddev
        z = mean + stddev * torch.randn(1, *mean.shape)
        raw = vae.output(vae.decoder(z))
        if vae.likelihood.is_probability:
            log_px = Bernoulli(logits=raw).log_prob(batch.x).sum(-1).mean()
            shift = 0.0
        else:
            bound, raw_log_var = vae.likelihood.scale.bound, vae.likelihood.scale.raw_log_var
            scale = (bound * torch.tanh(raw_log_var / bound) / 2).exp()
            raw = vae.linear_decoder.unit * (z @ vae.linear_decoder.weight.T + raw)
            log_px = Normal(raw, scale).log_prob(batch.x).sum(-1).mean()
            shift = float(model.scaling.scale.log().sum())
        kl = 0.5 * (mean**2 + stddev**2 - 2 * stddev.log() - 1).sum(-1).mean()
        return float(kl - log_px) + shift


@pytest.mark.parametrize("name", ["gaussian_run", "bernoulli_run"])
def test_validation_is_the_nelbo_written_out_by_hand(name: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(name)
    seed_everything(0, verbose=False)
    (batch,) = build(run.settings).datamodule.rows["valid"].batches()
    assert by_hand(load(run.run_dir), batch, run.settings.seed) == pytest.approx(run.value, abs=1e-4)


@pytest.mark.parametrize("batch_size", [7, 20, 40])
def test_training_and_validation_are_one_function_whatever_the_batches(
    train: Train, tmp_path: Path, table: Callable[..., Path], batch_size: int
) -> None:
    """Of a decoder that ignores z: the draws, which differ between the two, make no difference."""
    same = [*same_rows_everywhere(table()), "optimizer.lr=0", "model.start=zero"]
    words = [*same, f"data.batch_size={batch_size}"]
    metrics = train(tmp_path, *words).metrics
    for term in ("nelbo", "reconstruction", "kl"):
        np.testing.assert_allclose(metrics[f"train/{term}"], metrics[f"val/{term}"], atol=1e-4)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (100.0, -40.0)])
def test_preprocessing_does_not_move_what_does_not_depend_on_the_model(
    train: Train, tmp_path: Path, table: Callable[..., Path], scale: float, shift: float
) -> None:
    words = [*same_rows_everywhere(table(scale, shift)), "model.start=zero", "optimizer.lr=0"]
    words += ["trainer.max_epochs=1", "test.num_samples=1"]
    runs = {
        kind: train(tmp_path / kind, *words, f"data.preprocess={kind}") for kind in ("none", "standardize", "minmax")
    }
    baselines = [run.summary["test"]["baseline"] for run in runs.values()]
    np.testing.assert_allclose(baselines, baselines[0], atol=1e-3)
    # An untrained decoder says what the independent columns say, so its reconstruction is the baseline.
    for run in runs.values():
        assert run.metrics["val/reconstruction"].iloc[0] == pytest.approx(baselines[0], abs=1e-3)
        assert run.summary["test"]["reconstruction"] == pytest.approx(baselines[0], abs=1e-3)


@pytest.mark.parametrize(
    ("likelihood", "preprocess"),
    [("gaussian", "none"), ("gaussian", "standardize"), ("gaussian", "minmax"), ("continuous_bernoulli", "minmax")],
)
def test_the_floor_is_stated_in_data_units(
    train: Train, tmp_path: Path, table: Callable[..., Path], likelihood: str, preprocess: str
) -> None:
    if likelihood == "continuous_bernoulli" and preprocess != "minmax":
        pytest.skip("needs values in [0, 1]")
    words = [*same_rows_everywhere(table()), f"likelihood={likelihood}", f"data.preprocess={preprocess}"]
    run = train(tmp_path, *words, "trainer.max_epochs=1")
    x = pd.read_csv(table()).to_numpy()
    scales = {"none": np.ones(3), "standardize": x.std(0), "minmax": np.ptp(x, axis=0)}[preprocess]
    highest = -np.log(1e-5 * np.sqrt(2 * np.pi)) if likelihood == "gaussian" else np.log(10 / (1 - np.exp(-10)))
    assert run.summary["test"]["entropy_floor"] == pytest.approx(np.log(scales).sum() - 3 * highest, abs=1e-4)
    assert load(run.run_dir).loss_floor() == pytest.approx(np.log(scales).sum() - 3 * highest, abs=1e-4)


# --- what is configured happens --------------------------------------------------------------------------------------


def test_early_stopping_stops_when_nothing_improves(train: Train, tmp_path: Path) -> None:
    run = train(tmp_path, "optimizer.lr=0", "trainer.max_epochs=9", "callbacks.early_stopping.patience=2")
    assert run.summary["epochs"] == 2
    assert run.checkpoint("best")["global_step"] == 0


@pytest.mark.parametrize(
    ("scheduler", "rates"),
    [
        (["scheduler=none"], [1, 1, 1, 1]),
        (["scheduler=exponential", "scheduler.gamma=0.5"], [1, 0.5, 0.25, 0.125]),
        (["scheduler=cosine"], [1, 0.853553, 0.5, 0.146447]),
        (["scheduler=cosine", "scheduler.warmup=0.5"], [0.5, 0.853553, 0.5, 0.146447]),
        (["scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=1000"], [1, 0.3, 0.09, 0.027]),
    ],
    ids=lambda value: value[0] if isinstance(value[0], str) else "",
)
def test_the_scheduler_sets_the_rate_of_each_epoch(
    train: Train, tmp_path: Path, scheduler: list[str], rates: list[float]
) -> None:
    metrics = train(tmp_path, *scheduler, "trainer.max_epochs=4").metrics
    np.testing.assert_allclose(metrics["lr"], 0.01 * np.array(rates), rtol=1e-5)


def test_gradients_are_clipped(train: Train, tmp_path: Path) -> None:
    words = ["optimizer._target_=torch.optim.SGD", "optimizer.lr=1", "trainer.max_epochs=1", "data.batch_size=70"]
    still, clipped, free = (
        train(tmp_path / name, *words, *more).weights()
        for name, more in {
            "still": ["trainer.gradient_clip_val=1e-12"],
            "clipped": ["trainer.gradient_clip_val=0.001"],
            "free": [],
        }.items()
    )

    def moved(weights: dict[str, torch.Tensor]) -> float:
        return float(sum((weights[key] - still[key]).double().square().sum() for key in weights)) ** 0.5

    assert 0.0005 < moved(clipped) <= 0.002 * 1.001  # two steps of at most 0.001
    assert moved(free) > 0.01


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_precision_reaches_the_trainer(train: Train, tmp_path: Path, precision: str) -> None:
    assert np.isfinite(train(tmp_path, f"trainer.precision={precision}", "trainer.max_epochs=1").value)


@pytest.mark.parametrize("resample", [False, True])
def test_binarised_grey_levels_train_as_bits(train: Train, tmp_path: Path, resample: bool) -> None:
    words = ["data=digits", "likelihood=bernoulli", "data.preprocess=binarize", f"data.resample={resample}"]
    run = train(tmp_path, *words, "data.batch_size=256", "trainer.max_epochs=1")
    assert run.summary["data"]["preprocess"] == "binarize"
    assert run.summary["test"]["entropy_floor"] == 0
    assert run.summary["test"]["baseline"] < 64 * np.log(2)


def test_without_callbacks_the_last_epoch_counts(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = train(tmp_path / "run", "callbacks=none")
    assert run.value == pytest.approx(run.metrics["val/nelbo"].iloc[-1], rel=1e-6)
    with pytest.raises(RunError, match="holds no checkpoint"):
        load(run.run_dir)


@pytest.mark.parametrize("logger", ["none", "csv"])
def test_without_callbacks_nothing_is_saved(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: str
) -> None:
    monkeypatch.chdir(tmp_path)
    train(tmp_path / "run", "callbacks=none", f"logger={logger}", "trainer.max_epochs=1")
    assert not list(tmp_path.rglob("*.ckpt"))


def test_without_callbacks_there_is_no_bar(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train(tmp_path / "run", "callbacks=none", "trainer.max_epochs=1")
    assert "it/s" not in "".join(capfd.readouterr())


def test_without_loggers_no_metrics_are_written(train: Train, tmp_path: Path) -> None:
    run = train(tmp_path, "logger=none")
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"checkpoints", "train.log", "summary.json", "valid_scores.csv"}
    assert np.isfinite(run.value)


@pytest.mark.parametrize(
    ("words", "absent"), [(["callbacks=none"], "best.ckpt"), (["logger=none"], "metrics.csv")], ids=["saves", "logs"]
)
def test_the_last_lines_name_only_what_is_there(
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    absent: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    train(tmp_path / "run", *words, "trainer.max_epochs=1")
    assert absent not in capsys.readouterr().out


def test_tensorboard_gets_the_terms_and_the_test(train: Train, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(tmp_path, "logger=tensorboard")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    logged = events.Tags()["scalars"]
    assert {"val/nelbo", "val/kl", "train/loss", "train/reconstruction", "test/nll", "test/baseline"} <= set(logged)
    assert events.Scalars("test/nll")[0].value == pytest.approx(run.summary["test"]["nll"], rel=1e-5)


# --- the console and the process -------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["data=correlated_bits", "likelihood=bernoulli", "scheduler=plateau"]])
def test_the_frameworks_are_silent(
    train: Train, tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        train(tmp_path, *words, "logger=both", "data.batch_size=64")
    said = capfd.readouterr()
    assert said.err == ""
    for noise in ("Tip", "TPU", "GPU available", "Warning", "warn(", "Trainer.fit", "`"):
        assert noise not in said.out


def test_the_log_file_holds_the_lines_of_this_run_only(train: Train, tmp_path: Path) -> None:
    train(tmp_path / "first")
    before = (tmp_path / "first" / "train.log").read_text()
    train(tmp_path / "second")
    assert (tmp_path / "first" / "train.log").read_text() == before
    assert "seed 0." in before
    assert "epoch 2/2" in before


@pytest.mark.parametrize("words", [[], ["data=table", "data.path=nowhere.csv"]], ids=["finished", "failed"])
def test_a_run_leaves_the_frameworks_loggers_and_all_warnings_as_they_were(
    train: Train, tmp_path: Path, words: list[str]
) -> None:
    loggers = [logging.getLogger(name) for name in (None, "lightning.pytorch", "lightning.fabric", "torch")]

    def state() -> list[Any]:
        return [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]

    filters, before = list(warnings.filters), state()
    try:
        train(tmp_path, *words, "trainer.max_epochs=1")
    except DataError:
        assert words
    assert warnings.filters == filters
    assert state() == before


def test_a_run_leaves_its_hosts_handlers_alone(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("vae_lightning")
    host = logging.NullHandler()
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    monkeypatch.setattr(logger, "handlers", [host])
    train(tmp_path, "trainer.max_epochs=1")
    assert (logger.handlers, logger.propagate, logger.level) == ([host], True, logging.NOTSET)


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_message_that_names_the_way_on(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(code, "no room")

    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("[]")  # as the command line leaves it where a run has begun
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RunError, match=r"The disk is full: .* python train\.py resume="):
        train(tmp_path)
    assert not list(tmp_path.rglob(".*.[0-9]*"))
    assert not (tmp_path / "summary.json").exists()


def test_a_file_that_may_not_grow_is_told_like_a_full_disk(train: Train, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(RunError, match="The disk is full"):
            train(tmp_path, "model.hidden_dims=[400]")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.rglob(".*.[0-9]*"))
    assert not list(tmp_path.rglob("last.ckpt"))


def test_other_errors_of_the_disk_are_not_called_full(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "bad sector")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="bad sector"):
        train(tmp_path)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["likelihood=bernoulli"], DataError, "likelihood=gaussian"),
        (["data.batch_size=1000"], DataError, "data.batch_size="),
        (["trainer.max_epoch=3"], ConfigError, "Did you mean 'max_epochs'"),
        (["trainer.max_epochs=ten"], ConfigError, "max_epochs"),
        (["trainer.max_epochs=0"], ConfigError, "max_epochs"),
        (["trainer.devices=0"], ConfigError, "trainer"),
        (["model.hidden_dims=8"], ConfigError, "hidden_dims"),
        (["likelihood.varience=shared"], ConfigError, "Did you mean 'variance'"),
        (["likelihood.name=os.system"], ConfigError, "There is no likelihood=os.system"),
        (["likelihood._target_=os.system"], ConfigError, "There is no setting likelihood._target_"),
        (["likelihood.name=base"], ConfigError, "There is no likelihood=base"),
        (["likelihood.supports=null"], ConfigError, "There is no setting likelihood.supports"),
        (["optimizer.lr=-1"], ConfigError, "optimizer"),
        (["scheduler=cosine", "scheduler.warmu=0"], ConfigError, "Did you mean 'warmup'"),
        (["scheduler=exponential", "scheduler.gamma=much"], ConfigError, "gamma"),
        (["objective.warmup=liner"], ConfigError, "warmup"),
        (["callbacks.gard.patience=3"], ConfigError, "Did you mean 'guard'"),
        (["callbacks.guard.patiance=3"], ConfigError, "Did you mean 'patience'"),
        (["torch.threads=0"], ConfigError, "threads"),
        (["torch.matmul_precision=hi"], ConfigError, "matmul_precision"),
        (["test.num_samples=0"], ConfigError, "num_samples"),
        (["data.preprocess=standardise"], UserError, "standardize"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_setting_that_makes_no_sense_is_one_message(
    train: Train, tmp_path: Path, words: list[str], error: type[UserError], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(tmp_path, *words)
    assert not (tmp_path / "summary.json").exists()
    assert not (tmp_path / "checkpoints").exists()


def test_batch_normalisation_survives_a_last_batch_of_one_row(train: Train, tmp_path: Path) -> None:
    words = ["model.normalization=batch", "data.num_rows=193", "data.batch_size=67"]
    assert np.isfinite(train(tmp_path, *words, "trainer.max_epochs=1").value)


# --- resume ----------------------------------------------------------------------------------------------------------


def before_epoch(epoch: int, error: BaseException) -> dict[str, Any]:
    """A callback node that raises ``error`` as an epoch begins."""

    def fail(trainer: Any, _: Any) -> None:
        if trainer.current_epoch == epoch:
            raise error

    return {"_target_": "lightning.pytorch.callbacks.LambdaCallback", "on_train_epoch_start": fail}


BITS = ["data=digits", "likelihood=bernoulli", "data.preprocess=binarize", "data.resample=true", "data.batch_size=256"]


@pytest.mark.parametrize(
    "words",
    [
        ["optimizer=adam"],
        ["optimizer=adamw", "optimizer.weight_decay=0.1"],
        ["scheduler=cosine"],
        ["scheduler=exponential", "scheduler.gamma=0.5"],
        ["scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=1000"],
        ["objective.warmup=linear", "objective.warmup_epochs=5", "objective.num_samples=2"],
        ["model.dropout=0.3", "model.normalization=layer", "model.residual=true"],
        ["model.normalization=batch", "data.batch_size=28"],
        ["likelihood.variance=optimal"],
        ["likelihood.variance=predicted", "trainer.gradient_clip_val=0.1"],
        BITS,
    ],
    ids=lambda words: " ".join(words[:1]) if words != BITS else "resampled bits",
)
def test_a_resumed_run_ends_bit_equal_to_an_unbroken_one(train: Train, tmp_path: Path, words: list[str]) -> None:
    words = [*words, "trainer.max_epochs=4", "seed=3"]
    whole = train(tmp_path / "whole", *words)
    with pytest.raises(RuntimeError, match="power"):
        train(tmp_path / "torn", *words, power=before_epoch(2, RuntimeError("the power goes out")))
    torch.rand(5)
    torn = train(tmp_path / "torn", *words, f"resume={tmp_path / 'torn'}")
    for name in ("last", "best"):
        assert equal_weights(whole.weights(name), torn.weights(name))
    pd.testing.assert_frame_equal(whole.metrics, torn.metrics, check_exact=True)
    assert list(torn.metrics["epoch"]) == [0, 1, 2, 3]
    assert torn.value == whole.value
    assert torn.summary["test"] == whole.summary["test"]


def test_ctrl_c_says_how_to_go_on(train: Train, tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(RunError, match=r"Interrupted\. python train\.py resume="):
            train(tmp_path, stop=before_epoch(1, KeyboardInterrupt()))
        assert signal.getsignal(signal.SIGINT) is handler
    except SystemExit:
        pytest.fail("SystemExit")
    finally:
        signal.signal(signal.SIGINT, handler)


def test_a_finished_run_can_be_prolonged(train: Train, tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", "trainer.max_epochs=3")
    train(tmp_path / "two", "trainer.max_epochs=1")
    two = train(tmp_path / "two", "trainer.max_epochs=3", f"resume={tmp_path / 'two'}")
    assert equal_weights(whole.weights(), two.weights())
    pd.testing.assert_frame_equal(whole.metrics, two.metrics, check_exact=True)
    assert two.summary["epochs"] == 3


def test_a_prolonged_run_follows_the_curve_of_its_new_length(train: Train, tmp_path: Path) -> None:
    """lr(t) = 0.01 · ½ (1 + cos(π t / T)): of T = 2 the first two epochs, of T = 4 the others."""
    train(tmp_path, "trainer.max_epochs=2")
    run = train(tmp_path, "trainer.max_epochs=4", "scheduler.warmup=0", f"resume={tmp_path}")
    np.testing.assert_allclose(run.metrics["lr"], 0.01 * np.array([1, 0.5, 0.5, 0.146447]), rtol=1e-5)


def test_resuming_a_run_that_is_done_trains_no_more(train: Train, tmp_path: Path) -> None:
    done = train(tmp_path)
    weights, metrics = done.weights(), done.metrics
    again = train(tmp_path, f"resume={tmp_path}")
    assert equal_weights(again.weights(), weights)
    pd.testing.assert_frame_equal(again.metrics, metrics, check_exact=True)
    assert again.value == done.value


def test_resuming_before_the_first_checkpoint_starts_from_the_beginning(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tmp_path, f"resume={tmp_path}")
    assert "starting from the beginning" in capsys.readouterr().out
    assert len(run.metrics) == 2


def test_resuming_without_early_stopping_patience_left_stops_at_once(train: Train, tmp_path: Path) -> None:
    words = ["optimizer.lr=0", "callbacks.early_stopping.patience=2"]
    train(tmp_path, *words, "trainer.max_epochs=2")
    run = train(tmp_path, *words, "trainer.max_epochs=9", f"resume={tmp_path}")
    assert run.summary["epochs"] == 3  # the check comes at an epoch's end


@pytest.fixture(scope="module")
def one_epoch(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch, to copy and resume."""
    run_dir: Path = train(tmp_path_factory.mktemp("runs") / "one_epoch", "trainer.max_epochs=1").run_dir
    return run_dir


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.seed=9"], "The rows are not those"),
        (["model.hidden_dims=[9]"], "of another shape"),
        (["model.latent_dim=3"], "of another shape"),
        (["likelihood.variance=shared"], "of another shape"),
        pytest.param(["model.hidden_dims=[8,8]"], "of another shape"),
        pytest.param(["model.normalization=layer"], "of another shape"),
        pytest.param(["likelihood.variance=fixed"], "of another shape"),
        pytest.param(["data.preprocess=none"], "of another shape"),
        pytest.param(["optimizer._target_=torch.optim.SGD"], "optimizer"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_resumed_is_one_message(
    train: Train, one_epoch: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    run_dir = shutil.copytree(one_epoch, tmp_path / "run")
    with pytest.raises(RunError, match=message):
        train(run_dir, *words, f"resume={run_dir}", "trainer.max_epochs=2")
    # Refused before anything was touched: the finished run is still a finished run.
    assert (run_dir / "summary.json").read_text() == (one_epoch / "summary.json").read_text()


def test_a_resumed_run_keeps_its_learning_rate_and_says_so(train: Train, one_epoch: Path, tmp_path: Path) -> None:
    run_dir = shutil.copytree(one_epoch, tmp_path / "run")
    with pytest.raises(RunError, match=r"was trained with optimizer .* resume without it"):
        train(run_dir, f"resume={run_dir}", "trainer.max_epochs=2", "optimizer.lr=0.123")


def test_a_damaged_checkpoint_is_not_resumed(train: Train, one_epoch: Path, tmp_path: Path) -> None:
    run_dir = shutil.copytree(one_epoch, tmp_path / "run")
    path = run_dir / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match="cannot be read"):
        train(run_dir, f"resume={run_dir}")


def test_the_summary_is_plain_json(gaussian_run: Any) -> None:
    text = (gaussian_run.run_dir / "summary.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["epochs"] == 20
