"""What loggers are told of a model: every setting by the name that the command line has for it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vae_lightning.inference.model import VAEModel
from vae_lightning.model.parts import NAME
from vae_lightning.objectives.base import Objective


def settings_of(model: VAEModel, objective: Objective, lr: float, seed: int) -> dict[str, Any]:
    """Those of the model's record; of a model that was put together by hand, what can be seen of it."""
    vae = model.vae
    families = {"likelihood": vae.likelihood, "posterior": vae.posterior, "prior": vae.prior}
    seen = {
        "model": {"latent_dim": vae.latent_dim},
        **{group: {NAME: family.name()} for group, family in families.items()},
        "objective": {NAME: objective.name(), **asdict(objective)},
        "optimizer": {"lr": lr},
    }
    return dotted({**seen, **model.record, "seed": seed})


def dotted(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as a flat dictionary.

    >>> dotted({"optimizer": {"_partial_": True, "lr": 0.1}, "seed": 0})
    {'optimizer.lr': 0.1, 'seed': 0}
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= dotted(value, f"{prefix}{name}.")
        elif name != "_partial_":
            found[f"{prefix}{name}"] = value
    return found
