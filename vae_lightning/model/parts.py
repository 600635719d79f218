"""From names and options, as configurations and checkpoints hold them, to the VAE they describe."""

from collections.abc import Mapping
from typing import Any, TypeVar

from vae_lightning.errors import check_parameter, is_count
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.family import Family
from vae_lightning.model.vae import VAE
from vae_lightning.posteriors.base import PosteriorFamily
from vae_lightning.priors.base import Prior

Part = TypeVar("Part", bound=Family)
NAME = "name"
BLOCKS, COLUMNS = "blocks", "columns"
"""Of families side by side: the families, and each one's columns."""


def build_part(base: type[Part], node: Mapping[str, Any], group: str, **given: Any) -> Part:
    """The family that ``node["name"]`` names, with the other entries as its options.

    Families side by side are ``{"name": "by_column", "blocks": [{"name": ..., "columns": [0, 2], ...}, ...]}``.

    Args:
        base: the protocol.
        node: name and options, plain values.
        group: what messages call the choice.
        **given: arguments that the program adds, such as sizes.

    Raises:
        ConfigError: when there is no such family in the package, or it refuses a value.
        TypeError: for an option that it does not have.
    """
    options = {key: value for key, value in node.items() if key not in (NAME, COLUMNS)}
    if BLOCKS in options:
        options[BLOCKS] = [
            (build_part(base, block, group, num_columns=len(block[COLUMNS])), block[COLUMNS])
            for block in options[BLOCKS]
        ]
    is_inner = BLOCKS in node or COLUMNS in node
    return base.named(str(node.get(NAME)), group, recorded=is_inner)(**given, **options)


def build_vae(parts: Mapping[str, Mapping[str, Any]], num_columns: int) -> VAE:
    """An untrained VAE.

    Args:
        parts: ``likelihood``, ``posterior`` and ``prior``, each with name and options, and ``model``, the network's
            own arguments.
        num_columns: C.

    Raises:
        ConfigError: as :func:`build_part`.
    """
    likelihood = build_part(Likelihood, parts["likelihood"], "likelihood", num_columns=num_columns)  # type: ignore[type-abstract]
    latent_dim = parts["model"].get("latent_dim", DEFAULT_LATENT_DIM)
    # Told of the VAE, not of whichever part would meet it first.
    check_parameter("VAE", "latent_dim", is_count(latent_dim), "at least 1", latent_dim)
    posterior = build_part(PosteriorFamily, parts["posterior"], "posterior", latent_dim=latent_dim)  # type: ignore[type-abstract]
    prior = build_part(Prior, parts["prior"], "prior", latent_dim=latent_dim)  # type: ignore[type-abstract]
    return VAE(likelihood, posterior=posterior, prior=prior, **parts["model"])


DEFAULT_LATENT_DIM: int = VAE.__init__.__defaults__[0]  # type: ignore[index]  # of the first argument that has one
