"""Train variational autoencoders whose loss can be trusted.

>>> from vae_lightning import VAE, Gaussian
>>> VAE(Gaussian(3), latent_dim=2).latent_dim
2
"""

import importlib
from typing import TYPE_CHECKING, Any

from vae_lightning.version import __version__

if TYPE_CHECKING:
    from vae_lightning.estimator.estimator import VAEEstimator
    from vae_lightning.estimator.imputer import VAEImputer
    from vae_lightning.model.vae import VAE
    from vae_lightning.runs.loading import load
    from vae_lightning.training.module import VAEModule
    from vae_lightning.training.schedules import Cosine

__all__ = ["VAE", "Cosine", "VAEEstimator", "VAEImputer", "VAEModule", "__version__", "load"]

_PLACES = {
    "load": "runs.loading",
    "Cosine": "training.schedules",
    "VAE": "model.vae",
    "VAEEstimator": "estimator.estimator",
    "VAEImputer": "estimator.imputer",
    "VAEModule": "training.module",
}


def __getattr__(name: str) -> Any:
    # torch and lightning take seconds to import; the command line's --help should not wait for them.
    if name in _PLACES:
        return getattr(importlib.import_module(f"vae_lightning.{_PLACES[name]}"), name)
    if name[:1].isupper():
        from vae_lightning.likelihoods.base import Likelihood

        for likelihood in Likelihood.families().values():
            if likelihood.__name__ == name:
                return likelihood
    raise AttributeError(f"module 'vae_lightning' has no attribute {name!r}")
