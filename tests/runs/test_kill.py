"""Killing the process at any moment loses little, and the resumed run ends bit-equal."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

SLACK = 1.0
"""Seconds that a busy machine may take to write a checkpoint whose turn has come."""


@pytest.mark.parametrize(
    ("kills", "epochs", "signals"),
    [
        (4, 60, "SIGKILL"),
        (2, 40, "SIGTERM,SIGINT"),
        pytest.param(40, 500, "SIGKILL", marks=pytest.mark.long),
        pytest.param(10, 200, "SIGTERM,SIGINT", marks=pytest.mark.long),
    ],
)
def test_signals_lose_an_epoch_or_a_moment_each_and_change_no_bit(
    kills: int, epochs: int, signals: str, tmp_path: Path
) -> None:
    driver = Path(__file__).with_name("kill_driver.py")
    process = subprocess.run(
        [sys.executable, str(driver), str(tmp_path), str(kills), str(epochs), "0", signals],
        capture_output=True,
        text=True,
        timeout=1000,
    )
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout.splitlines()[-1])
    assert report["status"] == [0, 0]
    assert len(report["lives"]) == kills
    for before, saved, _, killed, finished, partial, lost in report["lives"]:
        assert killed
        assert not finished
        assert not partial
        assert saved >= before
        assert lost <= 0.1 + SLACK
    assert report["lives"][-1][1] > kills, "the run never got far: nothing was tested"

    whole, torn = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True) for name in ("whole", "torn")
    )
    assert whole["epoch"] == torn["epoch"] == epochs - 1
    assert all(torch.equal(whole["state_dict"][key], torn["state_dict"][key]) for key in whole["state_dict"])
    curves = [pd.read_csv(tmp_path / name / "metrics.csv") for name in ("whole", "torn")]
    pd.testing.assert_frame_equal(*curves, check_exact=True)
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "torn")]
    assert summaries[0]["test"] == summaries[1]["test"]
