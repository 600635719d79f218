"""Exported models against the model itself, run by onnxruntime; directories that appear whole or not at all."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import yaml
from scipy import special
from torch import nn

from vae_lightning import load
from vae_lightning.data.columns import Column
from vae_lightning.data.preprocess.base import Binarize, Identity, MinMax, Preprocess, Standardize
from vae_lightning.errors import ConfigError, RunError, UserError
from vae_lightning.export import export as exports
from vae_lightning.export import graph_files
from vae_lightning.export.files import TOLERANCE, agreement, probes
from vae_lightning.export.graphs import Decoder, Encoder, ScoreGraph, graphs
from vae_lightning.export.translations import translations
from vae_lightning.inference.model import VAEModel
from vae_lightning.inference.scoring import KINDS
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.continuous_bernoulli import ContinuousBernoulli
from vae_lightning.likelihoods.gaussian import Gaussian, Variance
from vae_lightning.model.vae import VAE
from vae_lightning.networks.mlp import ACTIVATIONS, NORMALIZATIONS

CONF = Path(__file__).parents[2] / "conf" / "likelihood"
C = 5


def construct_class(path: Path) -> Any:
    module, _, name = yaml.safe_load(path.read_text())["_target_"].rpartition(".")
    return getattr(importlib.import_module(module), name)


CASES: dict[str, tuple[Any, Callable[[], Preprocess], Any, dict[str, Any]]] = {
    # likelihood, preprocessing, kind of score, architecture: together every choice that there is
    "bernoulli": (Bernoulli, lambda: Binarize(C), "elbo", {"normalization": "batch", "activation": "relu"}),
    "continuous_bernoulli": (ContinuousBernoulli, lambda: MinMax(C), "nll", {"activation": "leaky_relu"}),
    "gaussian": (Gaussian, lambda: Standardize(C), "elbo", {"normalization": "layer", "activation": "gelu"}),
    "gaussian fixed": (lambda c: Gaussian(c, "fixed", 0.3), lambda: Identity(C), "nll", {"activation": "silu"}),
    "gaussian shared": (lambda c: Gaussian(c, "shared"), lambda: Standardize(C), "nll", {"residual": True}),
    "gaussian predicted": (
        lambda c: Gaussian(c, "predicted"),
        lambda: Standardize(C),
        "reconstruction",
        {"residual": True, "normalization": "batch", "dropout": 0.5, "activation": "elu"},
    ),
    "gaussian optimal": (lambda c: Gaussian(c, "optimal"), lambda: Standardize(C), "elbo", {"activation": "softplus"}),
    "linear": (Gaussian, lambda: MinMax(C), "elbo", {"hidden_dims": [], "activation": "tanh"}),
}
"""``linear`` is written as torch.export only: what differs from the others is no operation of its own."""
NEW = {
    path.stem: (construct_class(path), lambda: Identity(C), "elbo", {})
    for path in sorted(CONF.glob("*.yaml"))
    if path.stem not in CASES
}
CASES |= NEW
"""A family that is added needs no line here: its rows are what it draws."""
UNITS = {
    "bernoulli": (7.0, 1e-3),
    "gaussian": (1e6, 3.0),
    "gaussian shared": (-3e-7, 1e-7),
    "gaussian optimal": (1e6, 1e-4),
    "continuous_bernoulli": (1e6, 1e3),
}
"""Mean and scale of the data, where they are not 0 and 1."""


def data(name: str, n: int, seed: int) -> np.ndarray:
    """Rows in data units, whose columns differ in scale."""
    mean, scale = UNITS.get(name, (0.0, 1.0))
    return mean + scale * np.random.default_rng(seed).normal(size=(n, C)) * [1, 2, 0.5, 3, 1]


def trained(name: str, record: dict[str, Any] | None = None) -> VAEModel:
    """A model whose every weight and statistic has moved from where it starts."""
    likelihood, preprocess, _, options = CASES[name]
    torch.manual_seed(sorted(CASES).index(name))
    vae = VAE(likelihood(C), 3, **{"hidden_dims": [8, 6], **options})
    for parameter in vae.parameters():
        nn.init.normal_(parameter, std=0.3)
    for layer in vae.modules():
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.normal_(layer.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 0.5, 2)  # type: ignore[arg-type]
    fitted = preprocess().fit(data(name, 200, 0))
    return VAEModel(vae, fitted, [Column(f"x{i}", "float64") for i in range(C)], record).eval()


def unseen(name: str, model: VAEModel, n: int, seed: int) -> np.ndarray:
    """Legal rows that nothing was fitted to."""
    if name in NEW:
        return probes(Encoder(model.vae, model.preprocess), n, 100 + seed).numpy()
    return data(name, n, seed)


def onnx(path: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda rows: session.run(None, {given.name: rows})


def close(found: np.ndarray, model: np.ndarray, unit: Any = 1.0, origin: Any = 0.0) -> bool:
    return bool((np.abs(found - model) <= TOLERANCE * (unit + np.abs(model - origin)) + 1e-15 * np.abs(model)).all())


def own_units(model: VAEModel) -> tuple[np.ndarray, np.ndarray]:
    """What is 1 and what is 0 to each column, in data units."""
    return model.preprocess.inverse_std(torch.ones(C)).numpy(), model.preprocess.inverse(torch.zeros(C)).numpy()


# --- what the graphs compute -----------------------------------------------------------------------------------------


def test_every_choice_of_the_package_is_among_the_cases() -> None:
    families = {type(case[0](C)).__module__.rpartition(".")[2] for case in CASES.values()}
    assert families == {path.stem for path in CONF.glob("*.yaml")}
    assert {vars(case[0](C)).get("variance") for case in CASES.values()} >= set(get_args(Variance))
    assert {preprocess().kind for _, preprocess, _, _ in CASES.values()} == {
        "none",
        "standardize",
        "minmax",
        "binarize",
    }
    assert {kind for _, _, kind, _ in CASES.values()} == set(KINDS)
    options = [options for _, _, _, options in CASES.values()]
    assert {one.get("activation", "relu") for one in options} == set(ACTIVATIONS)
    assert {one.get("normalization", "none") for one in options} == set(NORMALIZATIONS)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_graphs_are_functions_of_the_model(name: str, kind: Any) -> None:
    model = trained(name)
    rows = unseen(name, model, 40, 1)
    encoder, decoder, score = graphs(model.vae, model.preprocess, kind)
    loc, std = model.encode(rows, return_std=True)
    np.testing.assert_array_equal(encoder(torch.from_numpy(rows))[0], loc)
    np.testing.assert_array_equal(encoder(torch.from_numpy(rows))[1], std)
    mean, spread = decoder(torch.from_numpy(loc))
    assert close(mean.numpy(), model.reconstruct(rows), *own_units(model))
    assert mean.shape == spread.shape == (40, C)
    total, by_column, kl = score(torch.from_numpy(rows))
    frame = model.score_by_column(rows, kind)
    np.testing.assert_array_equal(total, frame["anomaly_score"])
    np.testing.assert_array_equal(by_column, frame.filter(like="nats_"))
    np.testing.assert_array_equal(kl, frame["kl"] if "kl" in frame else np.zeros(40))


@pytest.mark.parametrize("name", ["gaussian", "gaussian predicted", "continuous_bernoulli", "bernoulli", "linear"])
def test_the_decoders_std_is_that_of_draws(name: str) -> None:
    model = trained(name)
    z = torch.randn(1, 3).expand(40_000, 3)
    mean, std = Decoder(model.vae, model.preprocess)(z)
    with torch.no_grad():
        draws = model.preprocess.inverse(model.vae.decode(z).sample())
    torch.testing.assert_close(draws.std(0), std[0], rtol=0.03, atol=0)
    assert ((draws.mean(0) - mean[0]).abs() < 5 * std[0] / 200).all()


def test_a_graph_is_a_copy_in_evaluation_mode() -> None:
    model = trained("gaussian predicted").train()
    graph = Encoder(model.vae, model.preprocess)
    assert not any(module.training for module in graph.modules())
    assert model.vae.training
    with torch.no_grad():
        model.vae.heads.weight.zero_()
    assert graph.vae.heads.weight.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in graph.parameters())


@pytest.mark.parametrize("name", CASES)
def test_probes_are_legal_rows_that_differ(name: str) -> None:
    model = trained(name)
    rows = probes(Encoder(model.vae, model.preprocess), 50, seed=1)
    model.model_units(rows.numpy())  # raises where one is outside of the support
    assert len(rows.unique(dim=0)) > 10
    assert not torch.equal(rows, probes(Encoder(model.vae, model.preprocess), 50, seed=2))


# --- onnx ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CASES if name != "linear"])
def test_onnxruntime_computes_what_the_model_does(name: str, tmp_path: Path) -> None:
    """Every likelihood and variance, preprocessing, kind of score and variant of the networks."""
    model, kind = trained(name), CASES[name][2]
    done = model.export(tmp_path / "out", kind=kind)
    assert sorted(path.name for path in done.directory.iterdir()) == sorted(done.files)
    assert max(one.largest for one in done.agreements) <= TOLERANCE
    encoder, decoder, score = (onnx(done.directory / f"{graph}.onnx") for graph in ("encoder", "decoder", "score"))
    for n in (1, 4, 50):
        rows = unseen(name, model, n, n)
        for found, expected in zip(encoder(rows), model.encode(rows, return_std=True), strict=True):
            assert found.dtype == np.float32
            assert close(found, expected)
        mean, std = decoder(model.encode(rows).astype(np.float32))
        assert close(mean, model.reconstruct(rows), *own_units(model))
        assert std.dtype == np.float64
        assert (std > 0).all()
        total, by_column, kl = score(rows)
        frame = model.score_by_column(rows, kind)
        assert close(total, frame["anomaly_score"].to_numpy())
        assert close(by_column, frame.filter(like="nats_").to_numpy())
        # The KL of the nll is a difference of the others, and no more exact than they are.
        unit = 1 + np.abs(total) if kind == "nll" else 1.0
        assert close(kl, frame["kl"].to_numpy() if kind != "reconstruction" else np.zeros(n), unit)
    check_card(done.directory, model, kind)


class Steep(nn.Module):
    """The operations that are not left to torch's exporter."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        bits = (x > 20).to(x.dtype)
        entropy = nn.functional.binary_cross_entropy_with_logits(40 - x, bits, reduction="none")
        return entropy, torch.sigmoid(40 - x)


def test_steep_logarithms_are_right_in_onnxruntime(tmp_path: Path) -> None:
    """Against scipy: torch's exporter takes the logarithm of a rounded sigmoid."""
    x = torch.cat([torch.logspace(-6, 6, 500), torch.linspace(0.5, 100, 500)])
    with graph_files._quiet():
        program: Any = torch.onnx.export(
            Steep().eval(), (x,), dynamo=True, verbose=False, custom_translation_table=translations()
        )
        program.save(tmp_path / "steep.onnx")
    entropy, sigmoid = onnx(tmp_path / "steep.onnx")(x.numpy())
    logits = (40 - x).double().numpy()
    truth = np.logaddexp(0, np.where(x > 20, -logits, logits))
    np.testing.assert_allclose(entropy, truth, rtol=3e-7, atol=3e-7)
    np.testing.assert_allclose(sigmoid, special.expit(logits), rtol=3e-7, atol=1e-37)


@pytest.mark.parametrize("name", ["bernoulli", "continuous_bernoulli"])
def test_sure_bits_are_right_in_onnxruntime(name: str, tmp_path: Path) -> None:
    """Logits of a trained model reach -20, where the logarithm of a float32 sigmoid has no right digit."""
    model = trained(name)
    nn.init.normal_(model.vae.output.bias, std=15)
    graph = ScoreGraph(model.vae, model.preprocess)
    path = graph_files.write_onnx(graph, tmp_path, {})
    assert agreement(graph, path, onnx(path)).largest <= TOLERANCE


def check_card(directory: Path, model: VAEModel, kind: str) -> None:
    import onnx as package

    card = json.loads((directory / "model.json").read_text())
    assert card["columns"] == [{"name": f"x{i}", "dtype": "float64"} for i in range(C)]
    assert (card["likelihood"], card["preprocess"]) == (model.vae.likelihood.family, model.preprocess.kind)
    assert (card["measure"], card["latent_dim"], card["score"]["kind"]) == (model.measure, 3, kind)
    assert "record" not in card  # it says where the data lay
    for name, signature in card["graphs"].items():
        file = package.load(directory / f"{name}.onnx")
        assert [entry.name for entry in file.graph.input] == list(signature["takes"])
        assert [entry.name for entry in file.graph.output] == list(signature["gives"])
        for entry in (*file.graph.input, *file.graph.output):
            dims = [dim.dim_param or dim.dim_value for dim in entry.type.tensor_type.shape.dim]
            said = (signature["takes"] | signature["gives"])[entry.name]
            assert dims == said["shape"], (name, entry.name)
            word = {1: "float32", 11: "float64"}[entry.type.tensor_type.elem_type]
            assert word == said["dtype"], (name, entry.name)
        assert {one.version for one in file.opset_import if one.domain == ""} == {graph_files.OPSET}
        assert {one.key: one.value for one in file.metadata_props}["measure"] == model.measure


# --- torch.export and safetensors ------------------------------------------------------------------------------------


def test_torch_export_computes_what_the_model_does(tmp_path: Path) -> None:
    model = trained("linear")
    done = model.export(tmp_path / "out", "torch")
    assert done.files == ("encoder.pt2", "decoder.pt2", "score.pt2", "model.json")
    rows = data("linear", 7, 1)
    with graph_files._quiet():
        score = torch.export.load(done.directory / "score.pt2").module()
    assert close(score(torch.from_numpy(rows))[0].numpy(), model.score(rows))
    model.export(tmp_path / "out", "torch")  # an earlier export is replaced


@pytest.fixture
def safe(gaussian_run: Any, tmp_path: Path) -> Path:
    return load(gaussian_run.run_dir).export(tmp_path / "safe", "safetensors").directory


def test_safetensors_give_the_module_back_bit_by_bit(gaussian_run: Any, safe: Path) -> None:
    assert sorted(path.name for path in safe.iterdir()) == ["model.json", "model.safetensors"]
    state = torch.get_rng_state()
    model, again = load(gaussian_run.run_dir), load(safe)
    assert torch.equal(torch.get_rng_state(), state)
    assert not again.training
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert (again.columns, again.record, again.measure) == (model.columns, model.record, model.measure)
    x = np.random.default_rng(0).normal(size=(5, 4))
    for method in ("encode", "reconstruct", "log_prob", "score"):
        np.testing.assert_array_equal(getattr(again, method)(x), getattr(model, method)(x))
    for kind in KINDS:
        assert again.threshold(0.9, kind) == model.threshold(0.9, kind)
    card = json.loads((safe / "model.json").read_text())
    assert card["score"]["thresholds"]["nll"]["0.99"] == pytest.approx(model.threshold(0.99, "nll"))
    assert set(card["score"]["thresholds"]["elbo"]) == {"0.9", "0.95", "0.99", "0.999"}


def test_an_exported_module_can_be_exported_again(safe: Path, tmp_path: Path) -> None:
    again = load(safe).export(tmp_path / "again", "safetensors").directory
    for name in ("model.json", "model.safetensors"):
        assert (again / name).read_bytes() == (safe / name).read_bytes()


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda card: card.update(vae_lightning="99.0.0"), "which is newer than this one"),
        (lambda card: card.pop("record"), "does not say how its model is built"),
        (lambda card: card.update(record=[1]), "does not say how its model is built"),
        (lambda card: card["record"].update(columns=3), "does not say how its model is built"),
        (lambda card: card["record"].update(columns=[["a", "no dtype"]]), "does not say how its model is built"),
        (lambda card: card["record"]["columns"].pop(), "does not fit the model it describes"),
        (lambda card: card["record"]["config"].pop("model"), "does not say how its model is built"),
        (lambda card: card["record"]["config"]["model"].update(latent_dim=7), "does not fit the model it describes"),
        (lambda card: card["record"]["config"]["likelihood"].update(_target_="os.system"), "must be a class of"),
        (lambda card: card.update(format="onnx"), "which no module can be rebuilt from"),
        (lambda card: card.pop("format"), "is no card of vae_lightning"),
    ],
)
def test_a_foreign_card_is_one_clear_line(safe: Path, change: Callable[[dict[str, Any]], Any], says: str) -> None:
    edit(safe / "model.json", change)
    with pytest.raises(UserError, match=says) as caught:
        load(safe)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 64, b"[" * 100_000], ids=range(4))
@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_damaged_files_are_named(safe: Path, name: str, content: bytes) -> None:
    (safe / name).write_bytes(content)
    with pytest.raises(RunError, match=name):
        load(safe)


def test_truncated_and_missing_weights_are_named(safe: Path) -> None:
    weights = safe / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(RunError, match=r"model\.safetensors cannot be read"):
        load(safe)
    weights.unlink()
    with pytest.raises(RunError, match=r"model\.safetensors cannot be read"):
        load(safe)


def test_a_model_without_a_record_cannot_be_built_again(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no record of how it was built"):
        trained("linear").export(tmp_path / "out", "safetensors")
    assert not list(tmp_path.iterdir())


# --- the check can fail ----------------------------------------------------------------------------------------------


def wrong_by(amount: float, output: int = 0) -> Callable[[Path], Callable[[np.ndarray], list[np.ndarray]]]:
    """A runtime whose one output differs from the file's."""

    def run(path: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
        right = graph_files.run_torch(path)

        def wrong(rows: np.ndarray) -> list[np.ndarray]:
            found = right(rows)
            found[output] = found[output] + amount
            return found

        return wrong

    return run


def test_a_graph_that_differs_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "run_torch", wrong_by(1e-3))
    with pytest.raises(RunError, match=r"encoder\.pt2 does not compute .* output 'loc' differs by up to \d.*e-0[34]"):
        trained("linear").export(tmp_path / "deep" / "out", "torch")
    assert not list((tmp_path / "deep").iterdir())


def test_a_failed_export_leaves_the_earlier_one(safe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in safe.iterdir()}
    monkeypatch.setattr(exports, "run_torch", wrong_by(np.nan))
    with pytest.raises(RunError, match="differs by up to nan"):
        load(safe).export(safe, "torch")
    assert {path.name: path.read_bytes() for path in safe.iterdir()} == before
    assert [path.name for path in safe.parent.iterdir()] == [safe.name]


@pytest.mark.parametrize("kind", [Decoder, ScoreGraph])
def test_the_tolerance_is_that_of_a_columns_own_units(kind: Any) -> None:
    """Columns around 1e6 with a scale of 1e-4: an error of a thousandth of a scale is 1e-13 of the value."""
    model = trained("gaussian optimal")
    graph = kind(model.vae, model.preprocess)

    def runner(relative: float) -> Any:
        def run(rows: np.ndarray) -> list[np.ndarray]:
            found = [output.numpy() for output in graph(torch.from_numpy(rows))]
            units = [1e-4 if kind is Decoder else 1.0] * len(found)
            return [output + relative * unit for output, unit in zip(found, units, strict=True)]

        return run

    assert agreement(graph, Path("a"), runner(0)).largest == 0
    assert agreement(graph, Path("a"), runner(3e-6)).largest <= TOLERANCE
    with pytest.raises(RunError, match="differs by up to"):
        agreement(graph, Path("a"), runner(1e-3))


def test_a_score_that_float32_cannot_resolve_is_held_to_its_own_rounding() -> None:
    """A narrow density: the model's own score is off by more than the tolerance, and the agreement says so."""
    model = trained("gaussian fixed")
    model.vae.likelihood = Gaussian(C, "fixed", 1e-4)
    graph = ScoreGraph(model.vae, model.preprocess, "nll")
    exact = ScoreGraph(model.vae.double(), model.preprocess, "nll")
    found = agreement(graph, Path("a"), lambda rows: [output.numpy() for output in exact(torch.from_numpy(rows))])
    assert found.largest > TOLERANCE
    assert found.rounding == pytest.approx(found.largest, rel=1e-3)
    assert "(its own rounding: " in str(found)


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (lambda _: lambda rows: [rows[:1, :3].astype(np.float32)] * 2, r"output 'loc' has shape \(1, 3\)"),
        (lambda _: lambda _rows: 1 / 0, r"encoder\.pt2 does not run, so nothing was exported: division by zero"),
    ],
)
def test_files_that_cannot_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any, says: str) -> None:
    monkeypatch.setattr(exports, "run_torch", run)
    with pytest.raises(RunError, match=says):
        trained("linear").export(tmp_path / "out", "torch")
    assert not list(tmp_path.iterdir())


class Untranslatable(Gaussian):
    """Uses what ONNX has no word for."""

    def forward(self, raw: torch.Tensor) -> Any:
        return super().forward(torch.special.i1(raw))


def test_a_model_that_gives_no_numbers_is_not_exported(tmp_path: Path) -> None:
    model = trained("linear")
    nn.init.constant_(model.vae.heads.bias, torch.nan)
    with pytest.raises(RunError, match=r"'loc' of the model's encoder is not finite"):
        model.export(tmp_path / "out", "torch")
    assert not list(tmp_path.iterdir())


def test_an_operation_that_onnx_does_not_have_is_named(tmp_path: Path) -> None:
    model = VAEModel(VAE(Untranslatable(2), 1, []), Identity(2), [Column("a", "float64"), Column("b", "float64")])
    with pytest.raises(RunError, match=r"decoder\.onnx cannot be made from this model: .*i1") as caught:
        model.export(tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


# --- directories, formats, packages ----------------------------------------------------------------------------------


def test_directories_that_hold_anything_else_are_refused(safe: Path, gaussian_run: Any, tmp_path: Path) -> None:
    model = load(safe)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="file is a file"):
        model.export(tmp_path / "file", "safetensors")
    with pytest.raises(RunError, match="which is no part of an export"):
        model.export(gaussian_run.run_dir, "safetensors")
    (safe / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds notes\.txt, which is no part of an export"):
        model.export(safe, "safetensors")
    stray = tmp_path / "stray"
    stray.mkdir()
    (stray / "model.json").write_text('{"name": "somebody else\'s"}')
    with pytest.raises(RunError, match=r"holds model\.json, which is no part"):
        model.export(stray, "safetensors")
    assert (stray / "model.json").exists()
    assert (safe / "notes.txt").read_text() == "mine"


def test_empty_directories_and_earlier_exports_are_replaced(safe: Path, tmp_path: Path) -> None:
    model = load(safe)
    (tmp_path / "empty").mkdir()
    model.export(str(tmp_path / "empty"), "safetensors")
    model.export(safe, "safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "safe"]
    assert load(tmp_path / "empty").columns == load(safe).columns


def test_an_old_export_survives_where_the_new_one_cannot_take_its_place(
    safe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, replace, before = load(safe), exports.os.replace, (safe / "model.json").read_bytes()

    def failing(source: Path, target: Path) -> None:
        if target == safe and not source.name.endswith(".old"):
            raise OSError("no space")
        replace(source, target)

    monkeypatch.setattr(exports.os, "replace", failing)
    with pytest.raises(OSError, match="no space"):
        model.export(safe, "safetensors")
    assert (safe / "model.json").read_bytes() == before
    assert [path.name for path in safe.parent.iterdir()] == [safe.name]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"format": "keras"}, "'format' parameter of export must be one of onnx, safetensors, torch. Got 'keras'"),
        ({"kind": "loss"}, "'kind' parameter of export must be one of elbo, nll, reconstruction. Got 'loss'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        trained("linear").export(tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("format", "package"), [("onnx", "onnxscript"), ("safetensors", "safetensors")])
def test_missing_packages_are_named(safe: Path, monkeypatch: pytest.MonkeyPatch, format: Any, package: str) -> None:
    model = load(safe)
    monkeypatch.setitem(sys.modules, package, None)
    says = rf"The format {format} needs {package}: pip install 'vae-lightning\[export\]'"
    with pytest.raises(ConfigError, match=says):
        model.export(safe.parent / "out", format)
    assert not (safe.parent / "out").exists()
    if package == "safetensors":
        with pytest.raises(ConfigError, match=says):
            load(safe)


def test_a_module_exports_its_model(gaussian_run: Any, tmp_path: Path) -> None:
    from vae_lightning.config.build import build_module

    module = build_module(gaussian_run.settings, load(gaussian_run.run_dir)).train()
    done = module.export(tmp_path / "out", format="safetensors")
    assert module.model.training
    x = np.zeros((3, 4))
    np.testing.assert_array_equal(load(done.directory).encode(x), module.encode(x))
