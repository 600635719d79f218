"""TensorBoard in a real browser: every page that a run fills has something on it."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Run
from vae_lightning.runs.checkup import examine_run

SCRIPT = Path(__file__).parents[2] / "scripts" / "tensorboard_pictures.py"
WORDS = {
    "scalars": ["column_nll/least", "latent_kl"],
    "custom_scalars": ["Loss terms", "NELBO = reconstruction + KL (β = 1)", "Per-column NLL"],
    "images": ["images/reconstructions", "images/draws", "latent/codes"],
    "histograms": ["codes/aggregate_posterior", "latent/kl_of_each_dimension"],
    "text": ["configuration/text_summary", "doctor/text_summary"],
    "hparams": ["Hyperparameters", "data", "likelihood", "bernoulli"],
    "projector": [],  # a canvas, of which a browser tells no words
}

pytestmark = [
    pytest.mark.skipif(not importlib.util.find_spec("selenium"), reason="needs selenium: pip install -e '.[browser]'"),
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")), reason="needs chromium and chromedriver"
    ),
]


def test_every_page_shows_what_the_run_wrote(digits_run: Run, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(digits_run.run_dir), "--out", str(tmp_path), "--seconds", "15"]
    done = subprocess.run([*command, "--pages", *WORDS], capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    missing = {page: set(words) - set(found[page]) for page, words in WORDS.items()}
    assert not any(missing.values()), missing
    assert examine_run(digits_run.run_dir).verdict in found["text"]
    assert not [page for page in WORDS if "No dashboards are active for the current data set." in found[page]]
    pixels = np.asarray(Image.open(tmp_path / "tensorboard_projector.png").convert("L"))
    height, width = pixels.shape
    middle = pixels[height // 5 : -height // 10, width // 4 : -width // 4]
    dark = (middle < 60).mean()
    assert 0.005 < dark < 0.5  # the digits' black paper
