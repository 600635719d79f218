"""TensorBoard's HParams tab, asked as its own page asks, and looked at in a browser."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sweeps.sweeping import ROOT, words
from vae_lightning.cli import main as cli
from vae_lightning.sweeps.base import jobs_of

STATUSES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
AXES = ["likelihood.variance=shared,predicted", "model.latent_dim=2,3"]


@pytest.fixture(scope="module")
def sweep_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four jobs, then two more with a key that the first four were not given."""
    folder = tmp_path_factory.mktemp("hparams") / "s"
    for axes in (AXES, ["objective.beta=0.5,1", "model.latent_dim=2"]):
        cli.train(words(*axes, "logger=both", f"sweep.dir={folder}"))
    return folder


def summaries(sweep_dir: Path) -> dict[int, dict[str, Any]]:
    return {n: json.loads((sweep_dir / str(n) / "summary.json").read_text()) for n in jobs_of(sweep_dir)}


@pytest.fixture(scope="module")
def url(sweep_dir: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = ["tensorboard", "--logdir", str(sweep_dir), "--port", str(port), "--load_fast", "false"]
    server = subprocess.Popen(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://localhost:{port}/"
    finally:
        server.terminate()
        server.wait(30)


def answered(url: str, runs: int) -> None:
    """Wait until the server has read the runs."""
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        try:
            with urllib.request.urlopen(f"{url}data/runs", timeout=10) as answer:
                if len(json.loads(answer.read())) >= runs:
                    return
        except OSError:
            pass
        time.sleep(0.5)
    pytest.fail("TensorBoard does not answer")


def asked(url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}data/plugin/hparams/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        content: dict[str, Any] = json.loads(answer.read())
        return content


def test_tensorboard_knows_every_run_by_its_settings_and_values(sweep_dir: Path, url: str) -> None:
    answered(url, 7)  # six jobs and the sweep itself
    columns = asked(url, "experiment", {"experimentName": ""})
    names = [info["name"] for info in columns["hparamInfos"]]
    assert sorted(names) == ["likelihood.variance", "model.latent_dim", "objective.beta"]
    metrics = {info["name"]["tag"]: info["displayName"] for info in columns["metricInfos"]}
    assert list(metrics.values()) == ["test/nelbo", "test/nll", "val/nelbo"]
    query = {
        "startIndex": 0,
        "sliceSize": 100,
        "allowedStatuses": STATUSES,
        "colParams": [*({"hparam": n} for n in names), *({"metric": {"tag": tag}} for tag in metrics)],
    }
    groups = {group["name"]: group for group in asked(url, "session_groups", query)["sessionGroups"]}
    jobs, known = jobs_of(sweep_dir), summaries(sweep_dir)
    assert sorted(groups) == [f"s/{number}" for number in jobs] == [f"s/{number}" for number in range(6)]
    for number, job in jobs.items():
        group = groups[f"s/{number}"]
        assert {name: group["hparams"][name] for name in names} == {name: job.settings[name] for name in names}
        shown = {
            metrics[value["name"]["tag"]]: value["value"]
            for value in group["metricValues"]
            if value["name"]["tag"] in metrics
        }
        summary = known[number]
        expected = {
            "test/nelbo": summary["test"]["nelbo"],
            "test/nll": summary["test"]["nll"],
            "val/nelbo": summary["val/nelbo"],
        }
        assert shown == pytest.approx(expected, rel=1e-6)


def test_a_report_replaces_the_columns(sweep_dir: Path) -> None:
    assert len(list(sweep_dir.glob("events.out.tfevents.*.hparams"))) == 1


def test_a_browser_shows_every_run_with_its_values(sweep_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("selenium", reason="needs selenium: pip install -e '.[browser]'")
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("needs chromium and chromedriver")
    script = [sys.executable, str(ROOT / "scripts" / "tensorboard_pictures.py"), str(sweep_dir), "--out", str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    pages = json.loads(done.stdout.splitlines()[-1])
    scalars, hparams = pages.values()
    assert {"test/nelbo", "train/nelbo", "val/nelbo"} <= set(scalars)
    for number, summary in summaries(sweep_dir).items():
        assert f"s/{number}" in hparams
        row = hparams[hparams.index(f"s/{number}") :][:10]
        for value in (summary["test"]["nelbo"], summary["test"]["nll"], summary["val/nelbo"]):
            assert any(abs(float(cell) - value) <= 1e-4 * abs(value) for cell in row if _is_number(cell))
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        "tensorboard_hparams.png",
        "tensorboard_scalars.png",
    ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
