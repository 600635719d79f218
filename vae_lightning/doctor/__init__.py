"""The doctor: says exactly what is wrong with a VAE loss.

>>> from vae_lightning.doctor import diagnose
>>> report = diagnose(kl=lambda m, s: 0.5 * (m**2 + s.exp() - 1 - s).sum(1).mean())
>>> report.ok
True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vae_lightning.doctor.report import CODES, Finding, Report

if TYPE_CHECKING:
    from vae_lightning.doctor.losses.file import examine_file
    from vae_lightning.doctor.losses.functions import diagnose
    from vae_lightning.doctor.runs.history import examine_history
    from vae_lightning.doctor.runs.table import examine_data

__all__ = ["CODES", "Finding", "Report", "diagnose", "examine_data", "examine_file", "examine_history"]

_FILES = {
    "diagnose": "losses.functions",
    "examine_file": "losses.file",
    "examine_data": "runs.table",
    "examine_history": "runs.history",
}


def __getattr__(name: str) -> Any:
    # Whoever examines a loss needs nothing of runs/, and the other way round.
    if name in _FILES:
        return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
