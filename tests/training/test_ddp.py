"""Several processes train one model: here two on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch

ROOT = Path(__file__).parents[2]
OVERRIDES = [
    "data=correlated_bits",
    "data.num_columns=20",
    "data.num_train=256",
    "data.num_valid=65",
    "data.num_test=64",
]
SETTINGS = ["data.batch_size=32", "model.hidden_dims=[16]", "trainer.max_epochs=3", "test.num_samples=5"]
DEVICES = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "torch.threads=1"]


def test_two_processes_train_one_model_and_speak_with_one_voice(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *OVERRIDES, *SETTINGS, *DEVICES, "hydra.run.dir=run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("vae_lightning ") == 1
    assert done.stdout.count("NELBO") >= 1
    assert (tmp_path / "run" / "report.html").exists()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["epochs"] == 3
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert metrics["epoch"].tolist() == [0, 1, 2]
    # 256 rows, two processes, batches of 32: four steps an epoch in each.
    assert metrics["step"].max() == 12
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 12
