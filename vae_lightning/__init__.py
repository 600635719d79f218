"""Train variational autoencoders whose loss can be trusted.

>>> import vae_lightning
>>> vae_lightning.__version__.count(".")
2
"""

from typing import TYPE_CHECKING, Any

from vae_lightning.version import __version__

if TYPE_CHECKING:
    from vae_lightning.estimator import VAEEstimator
    from vae_lightning.runs.loading import load

__all__ = ["VAEEstimator", "__version__", "load"]


def __getattr__(name: str) -> Any:
    # torch and lightning take seconds to import; the command line's --help should not wait for them.
    if name == "load":
        from vae_lightning.runs.loading import load

        return load
    if name == "VAEEstimator":
        from vae_lightning.estimator import VAEEstimator

        return VAEEstimator
    raise AttributeError(f"module 'vae_lightning' has no attribute {name!r}")
