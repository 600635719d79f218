"""The multilayer perceptron: shapes, parameter counts and the signal through it."""

import math

import pytest
import torch
from torch import nn

from vae_lightning.errors import ConfigError
from vae_lightning.networks.mlp import ACTIVATIONS, NORMALIZATIONS, Residual, mlp


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_choice_maps_rows_to_the_last_width(
    activation: str, normalization: str, dropout: float, residual: bool
) -> None:
    network = mlp(7, [5, 5, 3], activation, normalization, dropout, residual)
    y = network(torch.randn(9, 7))
    assert y.shape == (9, 3)
    y.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(ACTIVATIONS[activation]) == 3
    assert sum(kinds.count(kind) for kind in (nn.LayerNorm, nn.BatchNorm1d)) == (0 if normalization == "none" else 3)
    assert normalization == "none" or NORMALIZATIONS[normalization] in kinds
    assert kinds.count(nn.Dropout) == (3 if dropout else 0)
    assert kinds.count(Residual) == (3 if residual else 0)


def test_no_hidden_layers_are_the_identity() -> None:
    x = torch.randn(4, 6)
    assert mlp(6, [])(x) is x


@pytest.mark.parametrize(("residual", "skips"), [(False, 0), (True, 224 * 256 + 256 * 128)])
def test_parameters_are_those_of_its_linear_maps(residual: bool, skips: int) -> None:
    network = mlp(224, [256, 128, 128], residual=residual)
    linear = (224 + 1) * 256 + (256 + 1) * 128 + (128 + 1) * 128
    assert sum(parameter.numel() for parameter in network.parameters()) == linear + skips


def test_a_residual_layer_adds_its_input() -> None:
    block = nn.Linear(5, 5)
    x = torch.randn(3, 5)
    torch.testing.assert_close(Residual(block, 5, 5)(x), x + block(x))
    narrow = Residual(nn.Linear(5, 2), 5, 2)
    torch.testing.assert_close(narrow(x), x @ narrow.skip.weight.T + narrow.block(x))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_signal_survives_many_layers(activation: str) -> None:
    y = mlp(64, [64] * 8, activation)(torch.randn(500, 64))
    assert 0.1 < y.square().mean().sqrt().item() < 10


def test_dropout_acts_in_training_only() -> None:
    network, x = mlp(6, [200], dropout=0.5), torch.randn(3, 6)
    assert not torch.equal(network(x), network(x))
    network.eval()
    torch.testing.assert_close(network(x), network(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "name", "got"),
    [
        ({"hidden_dims": [4, 0]}, "hidden_dims", "[4, 0]"),
        ({"hidden_dims": [4], "activation": "rleu"}, "activation", "'rleu'"),
        ({"hidden_dims": [4], "normalization": "group"}, "normalization", "'group'"),
        ({"hidden_dims": [4], "dropout": 1.0}, "dropout", "1.0"),
        ({"hidden_dims": [4], "dropout": math.nan}, "dropout", "nan"),
    ],
)
def test_bad_parameters_get_the_one_sentence(settings: dict, name: str, got: str) -> None:
    with pytest.raises(ConfigError) as error:
        mlp(3, **settings)
    assert str(error.value).startswith(f"The '{name}' parameter of the MLP must be ")
    assert str(error.value).endswith(f" Got {got} instead.")
