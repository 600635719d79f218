"""Several processes train one model: here two on the CPU."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROWS = ["data=synthetic", "data.num_rows=366", "data.num_columns=4", "data.latent_dim=2", "data.batch_size=32"]
# The closed form of a model that learns nothing else: what it is fitted to is known at every step.
MODEL = ["model.hidden_dims=[16]", "model.start=zero"]
MODEL += ["likelihood=gaussian", "likelihood.variance=optimal", "likelihood.momentum=1"]
SETTINGS = ["optimizer.lr=0", "trainer.max_epochs=3", "test.num_samples=5", "callbacks.figures.every_n_epochs=0"]
DEVICES = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "torch.threads=1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have trained: 256 rows, so four steps an epoch in each."""
    folder = tmp_path_factory.mktemp("ddp")
    probe = ["++callbacks.probe._target_=ddp_probe.Probe", f"callbacks.probe.folder={folder}"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *ROWS, *MODEL, *SETTINGS, *DEVICES, *probe, "hydra.run.dir=run"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "stdout").write_text(done.stdout)
    return folder


def test_two_processes_train_one_model_and_speak_with_one_voice(folder: Path) -> None:
    said = (folder / "stdout").read_text()
    assert said.count("vae_lightning ") == 1
    assert said.count("NELBO") >= 1
    assert (folder / "run" / "report.html").exists()
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["epochs"] == 3
    assert summary["data"]["rows"]["train"] == 256
    metrics = pd.read_csv(folder / "run" / "metrics.csv")
    assert metrics["epoch"].tolist() == [0, 1, 2]
    assert metrics["step"].tolist() == [4, 8, 12]
    assert summary["val/nelbo"] == pytest.approx(metrics["val/nelbo"].min())
    checkpoint = torch.load(folder / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 12


def test_what_is_fitted_in_closed_form_is_fitted_to_the_rows_of_both(folder: Path) -> None:
    ranks = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert [len(steps) for steps in ranks] == [12, 12]
    for first, second in zip(*ranks, strict=True):
        assert first["scale"] == second["scale"]
        of_both = math.sqrt((first["sum"] + second["sum"]) / (first["cells"] + second["cells"]))
        assert first["scale"] == pytest.approx(of_both, rel=1e-5)
        assert first["scale"] != pytest.approx(math.sqrt(first["sum"] / first["cells"]), rel=1e-5)
