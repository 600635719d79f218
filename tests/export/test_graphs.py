"""What the graphs compute: functions of the model, in data units, without the Python around it."""

from typing import get_args

import numpy as np
import pytest
import torch

from tests.export.cases import CASES, C, close, own_units, trained, unseen
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.export.files import probes
from vae_lightning.export.graphs import Decoder, Encoder, graphs
from vae_lightning.inference.scoring import SCORE_KINDS
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.scale import ScaleKind


def test_every_family_preprocessing_and_kind_is_among_the_cases() -> None:
    likelihoods = [case[0](C) for case in CASES.values()]
    assert {likelihood.name() for likelihood in likelihoods} == {*Likelihood.families()}
    assert {one.scale.kind for one in likelihoods if isinstance(one, Gaussian)} == {*get_args(ScaleKind)}
    assert {preprocess().name() for _, preprocess, _, _ in CASES.values()} == {*Scaling.families()}
    assert {kind for _, _, kind, _ in CASES.values()} == {*SCORE_KINDS}


@pytest.mark.parametrize("name", CASES)
def test_graphs_are_functions_of_the_model(name: str) -> None:
    model = trained(name)
    rows = unseen(name, model, 40, 1)
    x = torch.from_numpy(rows)
    for kind in SCORE_KINDS:
        encoder, decoder, score = graphs(model.vae, model.scaling, kind)
        loc, std = model.encode(rows, return_std=True)
        np.testing.assert_array_equal(encoder(x)[0], loc)
        np.testing.assert_array_equal(encoder(x)[1], std)
        mean, spread = decoder(torch.from_numpy(loc))
        assert close(mean.numpy(), model.reconstruct(rows, mean=True), *own_units(model))
        assert mean.shape == spread.shape == (40, C)
        total, by_column, kl = score(x)
        frame = model.score_by_column(rows, kind)
        np.testing.assert_array_equal(total, frame["anomaly_score"])
        np.testing.assert_array_equal(by_column, frame.filter(like="nats_"))
        np.testing.assert_array_equal(kl, frame["kl"] if "kl" in frame else np.zeros(40))


@pytest.mark.parametrize("name", ["gaussian", "gaussian predicted", "continuous_bernoulli", "bernoulli", "linear"])
def test_the_decoders_std_is_that_of_draws(name: str) -> None:
    model = trained(name)
    z = torch.randn(1, 3).expand(40_000, 3)
    mean, std = Decoder(model.vae, model.scaling)(z)
    with torch.no_grad():
        draws = model.scaling.inverse(model.vae.decode(z).sample())
    torch.testing.assert_close(draws.std(0), std[0], rtol=0.03, atol=0)
    assert ((draws.mean(0) - mean[0]).abs() < 5 * std[0] / 200).all()


def test_a_graph_is_a_copy_in_evaluation_mode() -> None:
    model = trained("gaussian predicted").train()
    graph = Encoder(model.vae, model.scaling)
    assert not any(module.training for module in graph.modules())
    assert model.vae.training
    with torch.no_grad():
        model.vae.heads.weight.zero_()
    assert graph.vae.heads.weight.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in graph.parameters())


@pytest.mark.parametrize("name", CASES)
def test_probes_are_legal_rows_that_differ(name: str) -> None:
    model = trained(name)
    rows = probes(Encoder(model.vae, model.scaling), 50, seed=1)
    model.model_units(rows.numpy())  # raises where one is outside of the support
    assert len(rows.unique(dim=0)) > 10
    assert not torch.equal(rows, probes(Encoder(model.vae, model.scaling), 50, seed=2))
