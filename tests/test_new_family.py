"""A likelihood is one file, one yaml and one test: in a copy of the project, with nothing else edited."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("vae_lightning", "conf", "hydra_plugins", "tests/likelihoods", "tests/sweeps/sweeping.py")
FILES = ("pyproject.toml", "tests/conftest.py", "tests/test_families.py")
FAMILY = '''
"""Logistic likelihood: lighter tails than Laplace's, and no kink."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.bounds import smooth_bound, smooth_bound_inverse
from vae_lightning.likelihoods.moments import RowBatches, column_means
from vae_lightning.likelihoods.support import REAL

BOUND = 5.0


class LogisticPredictive(Predictive):
    """Logistic distributions of location m and scale s."""

    def __init__(self, location: Tensor, log_scale: Tensor) -> None:
        self.location = location
        self.log_scale = log_scale

    def log_prob(self, x: Tensor) -> Tensor:
        t = ((x - self.location) * torch.exp(-self.log_scale)).abs()
        return -t - self.log_scale - 2 * softplus(-t)

    def sample(self) -> Tensor:
        with torch.no_grad():
            return self.location + self.log_scale.exp() * torch.logit(torch.rand_like(self.location), eps=1e-7)

    @property
    def mean(self) -> Tensor:
        return self.location

    @property
    def stddev(self) -> Tensor:
        return (self.log_scale.exp() * math.pi / math.sqrt(3)).expand_as(self.location)


class Logistic(Likelihood):
    """``log p(x|raw) = -t - log s - 2 log(1 + exp(-t))`` with ``t = |x - raw| / s``, s learned for each column.

    Args:
        num_columns: number of columns C.
    """

    support = REAL

    def __init__(self, num_columns: int) -> None:
        super().__init__(num_columns)
        self.raw_log_scale = nn.Parameter(torch.zeros(num_columns))

    def forward(self, raw: Tensor) -> Predictive:
        return LogisticPredictive(raw, smooth_bound(self.raw_log_scale, BOUND))

    def max_log_prob(self) -> Tensor:
        return torch.full((self.num_columns,), BOUND - 2 * math.log(2))

    def start_from(self, rows: RowBatches, residual: Tensor | None = None, held: Tensor | None = None) -> Tensor:
        location, log_scale = _fitted(rows)
        self.raw_log_scale.data.copy_(smooth_bound_inverse(log_scale, BOUND))
        return location.float()

    def independent_columns(self, rows: RowBatches) -> Predictive:
        location, log_scale = _fitted(rows)
        return LogisticPredictive(location.float(), log_scale.float())


def _fitted(rows: RowBatches) -> tuple[Tensor, Tensor]:
    mean = column_means(rows)
    stddev = column_means(rows, lambda x: (x - mean).square()).sqrt()
    return mean, (stddev * math.sqrt(3) / math.pi).log().clamp(-BOUND, BOUND)
'''
YAML = "name: logistic\n"
TEST = '''
"""The logistic family against scipy."""

import numpy as np
import scipy.stats
import torch

from vae_lightning.likelihoods.logistic import Logistic


def test_agrees_with_scipy() -> None:
    raw, x = torch.randn(2, 50, 4, dtype=torch.float64)
    truth = scipy.stats.logistic(raw.numpy()).logpdf(x.numpy())
    np.testing.assert_allclose(Logistic(4).double()(raw).log_prob(x).detach().numpy(), truth, rtol=1e-12)
'''


def copy_of_the_project(folder: Path) -> None:
    for name in (*COPIED, *FILES):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


def test_a_likelihood_added_as_three_files_goes_through_everything(tmp_path: Path) -> None:
    """The contract suite, training, resume, figures and report, every command, the doctor, exports, sweep, --help."""
    copy_of_the_project(tmp_path)
    (tmp_path / "vae_lightning/likelihoods/logistic.py").write_text(FAMILY.lstrip())
    (tmp_path / "conf/likelihood/logistic.yaml").write_text(YAML)
    (tmp_path / "tests/likelihoods/test_logistic.py").write_text(TEST.lstrip())
    tests = ["tests/likelihoods", "tests/test_families.py", "-k", "logistic or one_file or help"]
    # It is no worker of the session that starts it: what is made once for all workers is not shared with that.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *tests],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(tmp_path), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    found = re.search(r"(\d+) passed, (\d+) deselected", done.stdout)
    assert found is not None, done.stdout[-2000:]
    assert int(found[1]) > 45, "the contract suite and the tests of the program find the family by themselves"
