"""The multilayer perceptron and its variants."""

from collections.abc import Sequence

from torch import Tensor, nn

from vae_lightning.errors import check_parameter

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}
NORMALIZATIONS: dict[str, type[nn.Module]] = {"none": nn.Identity, "layer": nn.LayerNorm, "batch": nn.BatchNorm1d}


class Residual(nn.Module):
    """``x + block(x)``, the skip path a linear map where the widths differ."""

    def __init__(self, block: nn.Module, in_features: int, out_features: int) -> None:
        super().__init__()
        self.block = block
        same = in_features == out_features
        self.skip: nn.Module = nn.Identity() if same else nn.Linear(in_features, out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.block(x)


def mlp(
    in_features: int,
    hidden_dims: Sequence[int],
    activation: str = "relu",
    normalization: str = "none",
    dropout: float = 0.0,
    residual: bool = False,
) -> nn.Sequential:
    """The hidden layers of an MLP: linear, normalisation, activation, dropout, for each width.

    The output layer is the caller's: it is what gives the numbers their meaning.

    Args:
        in_features: size of the input.
        hidden_dims: widths; none makes the identity, and so a linear model.
        activation: one of relu, leaky_relu, elu, gelu, silu, softplus, tanh.
        normalization: none, layer or batch.
        dropout: probability of zeroing a hidden unit in training.
        residual: add each layer's input to its output.

    Raises:
        ConfigError: for an unknown choice, a width below 1 or a dropout outside [0, 1).
    """
    check_parameter(
        "the MLP", "hidden_dims", all(width >= 1 for width in hidden_dims), "positive widths", list(hidden_dims)
    )
    check_parameter("the MLP", "activation", activation in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}", activation)
    check_parameter(
        "the MLP",
        "normalization",
        normalization in NORMALIZATIONS,
        f"one of {', '.join(NORMALIZATIONS)}",
        normalization,
    )
    check_parameter("the MLP", "dropout", 0 <= dropout < 1, "at least 0 and below 1", dropout)
    layers: list[nn.Module] = []
    for width in hidden_dims:
        block: list[nn.Module] = [_linear(in_features, width, gain=1.0 if activation == "tanh" else 2.0**0.5)]
        if normalization != "none":
            block.append(NORMALIZATIONS[normalization](width))
        block.append(ACTIVATIONS[activation]())
        if dropout:
            block.append(nn.Dropout(dropout))
        layers += [Residual(nn.Sequential(*block), in_features, width)] if residual else block
        in_features = width
    return nn.Sequential(*layers)


def _linear(in_features: int, out_features: int, gain: float) -> nn.Linear:
    """A linear layer that neither shrinks nor blows up the signal, however many follow (He et al. 2015, eq. 10).

    torch's own default divides the variance by six at every ReLU layer: after five of them nothing is left to learn
    from, and the posterior collapses before training has begun.
    """
    layer = nn.Linear(in_features, out_features)
    nn.init.normal_(layer.weight, std=gain / in_features**0.5)
    nn.init.zeros_(layer.bias)
    return layer
