"""metrics.csv: one whole row an epoch, at once, also across a resume."""

import csv
from pathlib import Path

import pytest

from vae_lightning.files import write_whole
from vae_lightning.training import csv_logger
from vae_lightning.training.csv_logger import EpochCSVLogger


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# Lightning counts steps from 0: after ten steps of each epoch it logs at step 9, 19, ...
def logged(folder: Path, *epochs: int, logger: EpochCSVLogger | None = None) -> EpochCSVLogger:
    logger = logger or EpochCSVLogger(folder)
    for epoch in epochs:
        logger.log_metrics({"val/nelbo": 10.0 - epoch, "epoch": float(epoch)}, step=10 * epoch + 9)
        logger.log_metrics({"train/nelbo": 20.5 - epoch, "epoch": float(epoch)}, step=10 * epoch + 9)
    return logger


def expected(*epochs: int) -> list[dict[str, str]]:
    return [
        {"epoch": f"{e}", "step": f"{10 * e + 10}", "train/nelbo": f"{20.5 - e}", "val/nelbo": f"{10.0 - e}"}
        for e in epochs
    ]


def test_an_epoch_is_one_row_on_disk_as_soon_as_it_is_known(tmp_path: Path) -> None:
    logger = EpochCSVLogger(tmp_path / "run")
    for epoch in range(4):
        logged(tmp_path, epoch, logger=logger)
        assert rows(tmp_path / "run") == expected(*range(epoch + 1))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.csv"]


def test_the_header_starts_with_epoch_and_step(tmp_path: Path) -> None:
    logged(tmp_path, 0)
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == "epoch,step,train/nelbo,val/nelbo"


def test_a_metric_that_comes_late_gets_a_column(tmp_path: Path) -> None:
    logger = logged(tmp_path, 0, 1)
    logger.log_metrics({"extra": 3.0, "epoch": 2}, step=20)
    logged(tmp_path, 3, logger=logger)
    assert [row["extra"] for row in rows(tmp_path)] == ["", "", "3.0", ""]
    assert rows(tmp_path)[3]["val/nelbo"] == "7.0"


def test_a_short_row_after_a_long_one_leaves_no_rest(tmp_path: Path) -> None:
    logger = EpochCSVLogger(tmp_path)
    logger.log_metrics({"a": 0.123456789123, "epoch": 0}, step=0)
    logger.log_metrics({"a": 1.0, "epoch": 0}, step=0)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["epoch,step,a", "0,1,1.0"]


@pytest.mark.parametrize("again", [2, 3])
def test_a_resumed_run_goes_on_in_the_same_file(tmp_path: Path, again: int) -> None:
    logged(tmp_path, 0, 1, 2)
    logged(tmp_path, *range(again, 5))
    assert rows(tmp_path) == expected(0, 1, 2, 3, 4)


def test_what_lies_beyond_a_repeated_epoch_never_happened(tmp_path: Path) -> None:
    logged(tmp_path, 0, 1, 2, 3)
    logged(tmp_path, 1)
    assert rows(tmp_path) == expected(0, 1)


def test_a_new_run_in_an_old_directory_starts_over(tmp_path: Path) -> None:
    logged(tmp_path, 0, 1, 2, 3)
    logged(tmp_path, 0)
    assert rows(tmp_path) == expected(0)


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_row_cut_short_is_forgotten_and_repeated(tmp_path: Path, cut: int) -> None:
    logged(tmp_path, 0, 1, 2)
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-cut])
    logged(tmp_path, 2, 3)
    assert rows(tmp_path) == expected(0, 1, 2, 3)


@pytest.mark.parametrize("left", ["", "epoch,st", "epoch,step,val/nelbo\n"])
def test_a_file_without_rows_is_no_obstacle(tmp_path: Path, left: str) -> None:
    (tmp_path / "metrics.csv").write_text(left)
    logged(tmp_path, 0)
    assert rows(tmp_path)[0]["val/nelbo"] == "10.0"


def test_a_metric_without_its_epoch_joins_the_next_that_has_one(tmp_path: Path) -> None:
    logger = EpochCSVLogger(tmp_path)
    for epoch, rate in enumerate((0.1, 0.2)):
        logger.log_metrics({"lr-Adam": rate / 2}, step=10 * epoch)
        logger.log_metrics({"lr-Adam": rate}, step=10 * epoch + 1)
        logged(tmp_path, epoch, logger=logger)
    assert [row["lr-Adam"] for row in rows(tmp_path)] == ["0.1", "0.2"]
    assert [row["step"] for row in rows(tmp_path)] == ["10", "20"]


def test_metrics_of_no_epoch_at_all_are_not_for_this_file(tmp_path: Path) -> None:
    logger = EpochCSVLogger(tmp_path)
    logger.log_metrics({"test/nll": 3.0}, step=5)
    logger.log_hyperparams({"lr": 1})
    assert not (tmp_path / "metrics.csv").exists()
    assert (logger.name, logger.version, logger.save_dir) == ("", "", str(tmp_path))


def test_an_epoch_costs_the_same_however_many_came_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole file was copied in each epoch: ten thousand took twice as long each as the first."""
    whole = []
    monkeypatch.setattr(csv_logger, "write_whole", lambda *given: whole.append(given) or write_whole(*given))
    logger = logged(tmp_path, *range(300))
    assert len(whole) <= 2  # as the names of the metrics become known
    written = (tmp_path / "metrics.csv").stat().st_size
    logged(tmp_path, 300, logger=logger)
    assert 0 < (tmp_path / "metrics.csv").stat().st_size - written < 100
    assert rows(tmp_path) == expected(*range(301))


@pytest.mark.parametrize(
    "left", ["a,b\n1,2\n", "epoch,step\nx,y\n", "epoch\n-1\n", "epoch,a\n1e3,2\n", 'epoch,"\n1,2', "\0"]
)
def test_a_file_of_somebody_elses_is_no_obstacle(tmp_path: Path, left: str) -> None:
    (tmp_path / "metrics.csv").write_text(left)
    logged(tmp_path, 0, 1)
    assert [row["epoch"] for row in rows(tmp_path)] == ["0", "1"]
