"""Graphs in onnxruntime against the model itself, and the check that each export makes of its own files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor, nn

from tests.export.cases import CASES, NEW, C, close, onnx, own_units, trained, unseen
from vae_lightning.data.columns import Column
from vae_lightning.data.preprocess.none import Identity
from vae_lightning.errors import RunError
from vae_lightning.export import files
from vae_lightning.export.export import export
from vae_lightning.export.files import ROUNDINGS, TOLERANCE, agreement
from vae_lightning.export.graphs import Decoder, ScoreGraph
from vae_lightning.export.translations import translations
from vae_lightning.inference.model import VAEModel
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.networks.mlp import ACTIVATIONS, NORMALIZATIONS, mlp

ON_EACH_PUSH = ("bernoulli", "continuous_bernoulli", "gaussian predicted")
"""Every kind of score. The others differ in what their variance is and in their networks, which have a test below."""
FULL = [name for name in CASES if name != "linear" and name not in NEW]
"""``linear`` has no operation of its own, and families that were added have :func:`test_a_new_family_is_translated`."""


@pytest.mark.parametrize(
    "name", [name if name in ON_EACH_PUSH else pytest.param(name, marks=pytest.mark.long) for name in FULL]
)
def test_onnxruntime_computes_what_the_model_does(name: str, tmp_path: Path) -> None:
    model, kind = trained(name), CASES[name][2]
    if "bernoulli" in name:
        # Logits of a trained model reach -20, where the logarithm of a float32 sigmoid has no right digit.
        nn.init.normal_(model.vae.output.bias[:2], std=15)
    done = export(model, tmp_path / "out", kind=kind)
    assert sorted(path.name for path in done.directory.iterdir()) == sorted(done.files)
    assert all(one.largest <= max(TOLERANCE, ROUNDINGS * one.rounding) for one in done.agreements)
    encoder, decoder, score = (onnx(done.directory / f"{graph}.onnx") for graph in ("encoder", "decoder", "score"))
    for n in (1, 4, 50):
        rows = unseen(name, model, n, n)
        for found, expected in zip(encoder(rows), model.encode(rows, return_std=True), strict=True):
            assert found.dtype == np.float32
            assert close(found, expected)
        mean, std = decoder(model.encode(rows).astype(np.float32))
        assert close(mean, model.reconstruct(rows, mean=True), *own_units(model))
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


def check_card(directory: Path, model: VAEModel, kind: str) -> None:
    import onnx as package

    card = json.loads((directory / "model.json").read_text())
    assert card["columns"] == [{"name": f"x{i}", "dtype": "float64"} for i in range(C)]
    assert (card["likelihood"], card["preprocess"]) == (model.vae.likelihood.name(), model.scaling.name())
    measure = str(model.reference_measure)
    assert (card["reference_measure"], card["latent_dim"], card["score"]["kind"]) == (measure, 3, kind)
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
        assert {one.version for one in file.opset_import if one.domain == ""} == {files.OPSET}
        assert {one.key: one.value for one in file.metadata_props}["reference_measure"] == measure


@pytest.mark.long
@pytest.mark.parametrize("name", NEW)
def test_a_new_family_is_translated(name: str, tmp_path: Path) -> None:
    """Its encoder is that of the others. On each push, tests/test_families.py exports two."""
    model = trained(name)
    for graph in (Decoder(model.vae, model.scaling), ScoreGraph(model.vae, model.scaling, CASES[name][2])):
        path = files.write_onnx(graph, tmp_path, {})
        assert agreement(graph, path, onnx(path)).largest <= TOLERANCE


class Operations(nn.Module):
    """Every activation and normalisation, and the two functions that are not left to torch's exporter."""

    def __init__(self) -> None:
        super().__init__()
        choices = [*((name, "none", False) for name in ACTIVATIONS), *(("relu", name, True) for name in NORMALIZATIONS)]
        self.networks = nn.ModuleList(mlp(C, [C, C], one, other, 0.5, residual) for one, other, residual in choices)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm1d):
                nn.init.normal_(layer.running_mean)  # type: ignore[arg-type]
                nn.init.uniform_(layer.running_var, 0.5, 2)  # type: ignore[arg-type]

    def forward(self, x: Tensor, steep: Tensor) -> tuple[Tensor, ...]:
        bits = (steep > 20).to(steep.dtype)
        entropy = nn.functional.binary_cross_entropy_with_logits(40 - steep, bits, reduction="none")
        return entropy, torch.sigmoid(40 - steep), *(network(x) for network in self.networks)


def test_every_operation_is_right_in_onnxruntime(tmp_path: Path) -> None:
    """Logarithms against scipy: torch's exporter takes the logarithm of a rounded sigmoid."""
    import onnxruntime

    x, steep = 3 * torch.randn(1000, C), torch.cat([torch.logspace(-6, 6, 500), torch.linspace(0.5, 100, 500)])
    module = Operations().eval().requires_grad_(False)
    with files._quiet():
        program: Any = torch.onnx.export(
            module, (x, steep), dynamo=True, verbose=False, custom_translation_table=translations()
        )
        program.save(tmp_path / "operations.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "operations.onnx"), providers=["CPUExecutionProvider"])
    entropy, sigmoid, *found = session.run(None, {"x": x.numpy(), "steep": steep.numpy()})
    logits = (40 - steep).double().numpy()
    truth = np.logaddexp(0, np.where(steep > 20, -logits, logits))
    np.testing.assert_allclose(entropy, truth, rtol=3e-7, atol=3e-7)
    np.testing.assert_allclose(sigmoid, special.expit(logits), rtol=3e-7, atol=1e-37)
    expected = module(x, steep)[2:]
    assert [close(one, other.numpy()) for one, other in zip(found, expected, strict=True)] == [True] * len(expected)


def test_torch_export_computes_what_the_model_does(tmp_path: Path) -> None:
    model = trained("linear")
    done = export(model, tmp_path / "out", "torch")
    assert done.files == ("encoder.pt2", "decoder.pt2", "score.pt2", "model.json")
    rows = unseen("linear", model, 7, 1)
    with files._quiet():
        score = torch.export.load(done.directory / "score.pt2").module()
    assert close(score(torch.from_numpy(rows))[0].numpy(), model.score(rows))
    export(model, tmp_path / "out", "torch")  # an earlier export is replaced


# --- the check can fail ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Decoder, ScoreGraph])
def test_the_tolerance_is_that_of_a_columns_own_units(kind: Any) -> None:
    """Columns around 1e6 with a scale of 1e-4: an error of a thousandth of a scale is 1e-13 of the value."""
    model = trained("gaussian optimal")
    graph = kind(model.vae, model.scaling)

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
    graph = ScoreGraph(model.vae, model.scaling, "nll")
    exact = ScoreGraph(model.vae.double(), model.scaling, "nll")
    found = agreement(graph, Path("a"), lambda rows: [output.numpy() for output in exact(torch.from_numpy(rows))])
    assert found.largest > TOLERANCE
    assert found.rounding == pytest.approx(found.largest, rel=1e-3)
    assert "(its own rounding: " in str(found)


class Untranslatable(Gaussian):
    """Uses what ONNX has no word for."""

    def forward(self, raw: torch.Tensor) -> Any:
        return super().forward(torch.special.i1(raw))


def test_an_operation_that_onnx_does_not_have_is_named(tmp_path: Path) -> None:
    model = VAEModel(VAE(Untranslatable(2), 1, []), Identity(2), [Column("a", "float64"), Column("b", "float64")])
    with pytest.raises(RunError, match=r"decoder\.onnx cannot be made from this model: .*i1") as caught:
        export(model, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
