"""Files of strangers: whole classes, models and steps as they are, and files that misbehave."""

import os
import time
from pathlib import Path

import pytest

from vae_lightning.doctor import Report, examine_file
from vae_lightning.doctor.losses import file as files

KL = "def kl(m, s):\n    return 0.5 * (m**2 + s.exp() - 1 - s).sum(1).mean()\n"
CLASS = """
import torch
from torch import nn
import torch.nn.functional as F
class VAE(nn.Module):
    def __init__(self, latent_size):
        super().__init__()
        self.fc21, self.fc22 = nn.Linear(400, latent_size), nn.Linear(400, latent_size)
    def reparameterize(self, mu, logvar):
        return mu + torch.randn_like(mu) * torch.exp({sigma})
    def loss_function(self, recon_x, x, mu, logvar):
        cross_entropy = F.binary_cross_entropy(recon_x, x.view(-1, 784), reduction="sum")
        return cross_entropy - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
"""
STEP = """
import torch, lightning
from torch import nn
import torch.nn.functional as F
class Whatever(lightning.LightningModule):
    def __init__(self, a, b):
        super().__init__()
        self.one, self.two, self.three = nn.Linear(a, 12), nn.Linear(12, 2 * b), nn.Linear(b, a)
    def forward(self, q):
        return self.two(torch.relu(self.one(q))).chunk(2, 1)
    def training_step(self, batch, batch_idx):
        q, _ = batch
        u, v = self(q)
        w = self.three(u + torch.exp(v / 2) * torch.randn_like(u))
        self.log("loss", 0.0)
        return F.mse_loss(w, q, reduction="sum") / len(q) + {weight} * (u**2 + v.exp() - 1 - v).sum(1).mean() / 2
"""
PLAIN = """
import numpy as np
class Bound:
    def __init__(self, beta):
        self.beta = beta
    def draw(self, mean, logvar):
        return mean + np.exp(logvar / 2) * np.random.standard_normal(mean.shape)
    def divergence(self, mean, logvar):
        return -0.5 * np.sum(1 + logvar - mean**2 - np.exp(logvar), 1)
    def error(self, x, x_hat):
        return np.{reduction}((x - x_hat) ** 2, 1)
"""

DRAW = """
import torch
class Sampling:
    def draw(self, m, s):
        return m + (s / 2).exp() * torch.randn_like(m)
"""
UNEXAMINED = {
    "VAE.training_step": """
class VAE(torch.nn.Module):
    def __init__(self, settings):
        super().__init__()
        self.heads, self.out = torch.nn.Linear(9, settings.size), torch.nn.Linear(settings.size // 2, 9)
    def training_step(self, batch, batch_idx):
        x = batch["rows"]
        m, s = self.heads(x).chunk(2, 1)
        return ((self.out(m) - x) ** 2).mean() + (m**2 + s.exp() - 1 - s).sum()
""",
    "Abstract.step": """
import abc
class Abstract(abc.ABC):
    @abc.abstractmethod
    def decode(self, z): ...
    @torch.no_grad()
    def step(self, batch):
        cross_entropy = torch.nn.functional.binary_cross_entropy(self.decode(batch.x), batch.x)
        return cross_entropy + batch.m.square().sum()
""",
    "Bound.__call__": "class Bound:\n    def __call__(self, batch):\n        loss = batch.x - 1\n        return loss\n",
    "fit": "def fit(model, loader):\n    for batch in loader:\n        model(batch).backward()\n",
}


def examine(tmp_path: Path, text: str, **names: str) -> Report:
    path = tmp_path / "losses.py"
    path.write_text(text)
    return examine_file(path, **names)


@pytest.mark.parametrize(("sigma", "codes"), [("logvar / 2", ()), ("logvar", ("VAR-AS-STD",))])
def test_class_with_a_loss_of_four_arguments(tmp_path: Path, sigma: str, codes: tuple[str, ...]) -> None:
    """A class whose method takes (recon_x, x, mu, logvar) was said to have no function kl."""
    report = examine(tmp_path, CLASS.format(sigma=sigma))
    assert report.codes == codes
    assert report.measured["examined as loss"] == "VAE.loss_function"
    assert report.measured["loss: arguments"] == "out, x, m, s"


@pytest.mark.parametrize(("weight", "codes"), [(1.0, ()), (0.01, ("SCALE",)), (-1.0, ("SIGN-FLIP",))])
def test_training_step_is_taken_apart(tmp_path: Path, weight: float, codes: tuple[str, ...]) -> None:
    """Of a LightningModule nothing was examined; its step tells all, whatever its layers are called."""
    report = examine(tmp_path, STEP.format(weight=weight))
    assert report.codes == codes
    assert report.measured["examined as loss"] == "Whatever.training_step, at its layers"


@pytest.mark.parametrize(("reduction", "codes"), [("sum", ()), ("mean", ("MEAN-SUM",))])
def test_methods_are_told_apart_by_their_values(tmp_path: Path, reduction: str, codes: tuple[str, ...]) -> None:
    """Methods of a plain class, none of them called what the doctor calls it."""
    report = examine(tmp_path, PLAIN.format(reduction=reduction))
    assert report.codes == codes
    roles = {key: value for key, value in report.measured.items() if key.startswith("examined")}
    assert roles == {
        "examined as sample": "Bound.draw",
        "examined as kl": "Bound.divergence",
        "examined as reconstruction": "Bound.error",
    }


@pytest.mark.parametrize(("role", "name"), [*(("draw", name) for name in UNEXAMINED), ("sample", "fit")])
def test_loss_that_cannot_be_examined_is_named(tmp_path: Path, name: str, role: str) -> None:
    """A file with a right draw, beside a training step that the doctor cannot run, was said to break no law."""
    report = examine(tmp_path, DRAW + f"{role} = Sampling().draw\n" + UNEXAMINED[name])
    assert report.codes == ()
    assert [finding.about for finding in report.unjudged] == [name]
    assert report.exit_status == 2


def test_what_judged_functions_call_is_not_missed(tmp_path: Path) -> None:
    """Parts of a reconstruction that was judged are no losses that were passed over."""
    helper = "def squared_loss(x, out):\n    return (x - out) ** 2\n"
    report = examine(tmp_path, f"{helper}def reconstruction(x, out):\n    return squared_loss(x, out).sum(1)\n{KL}")
    assert report.exit_status == 0


def test_method_of_a_class_can_be_named(tmp_path: Path) -> None:
    report = examine(tmp_path, PLAIN.format(reduction="sum"), kl="Bound.divergence")
    assert report.measured["KL: σ(s)"] == "exp(s/2)"
    assert examine(tmp_path, PLAIN.format(reduction="sum"), kl="Bound.nothing").exit_status == 2


@pytest.mark.parametrize(
    "text",
    [
        "import os; os._exit(0)",
        "def kl(m, s):\n    import os; os._exit(0)",
        "import ctypes; ctypes.string_at(0)",
        "kept = []\nwhile True:\n    kept.append(bytearray(10**8))",
        "answer = input()",
    ],
)
def test_file_that_ends_its_process_is_not_judged(tmp_path: Path, text: str) -> None:
    """`os._exit(0)` ended the doctor itself, with the status of a loss without fault; memory had no end."""
    report = examine(tmp_path, text)
    assert report.exit_status == 2
    assert report.codes == ("RAISES",)


def test_loop_at_import_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop in C keeps the interpreter's lock: no thread of the same process can end it."""
    monkeypatch.setattr(files, "START_SECONDS", 15.0)
    start = time.monotonic()
    report = examine(tmp_path, "max(iter(lambda: 0, 1))")
    assert report.codes == ("SLOW",)
    assert report.exit_status == 2
    assert time.monotonic() - start < 60


def test_directory_and_threads_of_the_file_are_its_own(tmp_path: Path) -> None:
    """A file that changed directory changed the caller's."""
    before = os.getcwd()
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n"
    report = examine(tmp_path, f"import os; os.chdir('/')\n{thread}{KL}")
    assert report.exit_status == 0
    assert os.getcwd() == before


def test_missing_package_is_named(tmp_path: Path) -> None:
    """The advice for a missing package was to put training under __main__."""
    report = examine(tmp_path, "import no_such_package")
    assert "pip install no_such_package" in report[0].advice
