"""``vae-lightning report RUN``: the page of a run at any time, without touching the run."""

import base64
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from lightning.pytorch import Callback

import vae_lightning.reporting.table
from tests.conftest import Run
from tests.reporting.test_html import Reader
from vae_lightning.cli.main import main
from vae_lightning.errors import RunError
from vae_lightning.runs.report import page_of_run

pytestmark = pytest.mark.usefixtures("one_thread")
Train = Callable[..., Run]


def report(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["report", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def read(path: Path) -> Reader:
    return Reader(path.read_text(encoding="utf-8"))


def state(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


class InterruptBefore(Callback):
    """Ctrl-C at the beginning of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        if trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def torn(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that Ctrl-C ended before its fourth epoch. Read only."""
    run_dir = tmp_path_factory.mktemp("runs") / "it's torn"
    stop = {"_target_": f"{__name__}.InterruptBefore", "epoch": 3}
    with pytest.raises(RunError) as interrupted:
        train(run_dir, "data.num_rows=400", "trainer.max_epochs=9", "optimizer.lr=0.03", "logger=csv", stop=stop)
    message = str(interrupted.value)
    assert message.startswith("Interrupted. python train.py")
    assert re.search(r"vae-lightning report \".*it's torn\" shows what was learned so far\.$", message), message
    return run_dir


def test_after_ctrl_c_there_is_a_page_that_says_so(torn: Path, tmp_path: Path) -> None:
    before = state(torn)
    done = report(torn, "-o", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    assert state(torn) == before
    page = read(tmp_path / "page.html")
    assert "This run has not finished: 3 epochs so far." in page.text
    assert "This run has not finished: 3 epochs so far." in done.stderr
    assert "Test rows, nats per row" in page.text
    assert "SUPPORT (data): All rows are" in page.text
    assert "Recorded was a validation NELBO of" in page.text or "before the first step" in page.text
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert images[0]["alt"] == "How training went"
    assert len(images) >= 5
    assert all(base64.b64decode((image["src"] or "").partition(",")[2]).startswith(b"\x89PNG") for image in images)
    assert str(torn) not in page.text


def test_of_a_finished_run_it_tells_what_the_summary_tells(gaussian_run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(gaussian_run.run_dir, copy)
    before = state(copy)
    assert report(copy).exit_code == 0
    after = state(copy)
    assert after.pop(str(copy / "report.html"))
    assert after == {name: content for name, content in before.items() if not name.endswith("report.html")}
    page = page_of_run(copy)
    test = gaussian_run.summary["test"]
    table = {name: value for name, value, _ in page.table}
    assert table["NLL"] == f"{test['nll']:.3f}"
    assert table["validation NELBO"] == f"{gaussian_run.summary['val/nelbo']:.3f}"
    assert page.warnings == tuple(gaussian_run.summary["warnings"])
    assert page.note == ""


def test_measured_again_the_numbers_are_those_of_the_summary(
    gaussian_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an unfinished run is told is what its summary would have said of the same weights."""
    copy = tmp_path / "copy"
    shutil.copytree(gaussian_run.run_dir, copy)
    (copy / "summary.json").unlink()
    samples = gaussian_run.config["test"]["num_samples"]
    # The run was told how many draws to take; without its summary as many are taken as take some seconds.
    monkeypatch.setattr(vae_lightning.reporting.table, "choose_num_samples", lambda *_: samples)
    recorded = page_of_run(gaussian_run.run_dir).table
    assert page_of_run(copy).table == recorded


def test_a_copy_without_its_rows_has_the_curves_and_the_summary(train: Train, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("a,b\n" + "\n".join(f"{i % 7 + i / 100},{i % 5 + i / 90}" for i in range(90)))
    run = train(tmp_path / "run", "data=table", f"data.path={table}", "likelihood=gaussian", "data.batch_size=16")
    table.unlink()
    page = page_of_run(run.run_dir)
    (finding,) = page.findings
    assert (finding.code, finding.ok) == ("DATA", None)
    assert "rows.csv" in finding.says
    assert [figure.plot.name for figure in page.figures or ()] == ["terms"]
    assert {"NLL", "baseline NLL"} <= {name for name, _, _ in page.table}
    (run.run_dir / "summary.json").unlink()
    assert page_of_run(run.run_dir).table == []


def test_a_page_that_cannot_be_written_is_one_line(gaussian_run: Run, tmp_path: Path) -> None:
    done = report(gaussian_run.run_dir, "-o", tmp_path / "nowhere" / "page.html")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].startswith("error: The report could not be written: ")


@pytest.mark.parametrize("name", ["summary.json", "metrics.csv"])
def test_a_damaged_file_is_one_line(gaussian_run: Run, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(gaussian_run.run_dir, copy)
    (copy / name).write_text("epoch,val/nelbo\n0,x\n")
    done = report(copy)
    assert done.exit_code == 2
    assert done.stderr == f"error: {copy / name} cannot be read: it is damaged.\n"


def test_an_option_of_runs_is_refused_for_sweeps(tmp_path: Path) -> None:
    done = report(tmp_path, "-o", tmp_path / "page.html")
    assert done.exit_code == 2
    assert done.stderr == f"error: -o is for the page of a run, and {tmp_path} holds no checkpoint.\n"


def test_null_in_a_summary_is_no_number(gaussian_run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(gaussian_run.run_dir, copy)
    summary = gaussian_run.summary
    summary["test"]["nll_standard_error"] = None
    (copy / "summary.json").write_text(json.dumps(summary))
    (words,) = [words for name, _, words in page_of_run(copy).table if name == "NLL"]
    assert "no standard error" in words
    assert math.isfinite(summary["test"]["nll"])
