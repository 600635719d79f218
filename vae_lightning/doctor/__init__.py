"""The doctor: says exactly what is wrong with a VAE loss.

>>> from vae_lightning.doctor import diagnose
>>> report = diagnose(kl=lambda m, s: 0.5 * (m**2 + s.exp() - 1 - s).sum(1).mean())
>>> report.ok
True
"""

from vae_lightning.doctor.losses.file import examine_file
from vae_lightning.doctor.losses.functions import diagnose
from vae_lightning.doctor.report import CODES, Finding, Report
from vae_lightning.doctor.runs.history import examine_history
from vae_lightning.doctor.runs.table import examine_data

__all__ = ["CODES", "Finding", "Report", "diagnose", "examine_data", "examine_file", "examine_history"]
