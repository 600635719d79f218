"""Start-up: nobody waits for what they do not use."""

import gc
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from vae_lightning.runs.imports import importing
from vae_lightning.runs.loading import load

HEAVY = ("lightning", "hydra", "omegaconf", "matplotlib", "torchmetrics", "sklearn", "optuna")


def imported(program: str, *names: str) -> list[str]:
    """Which of the packages a fresh process has imported after ``program``."""
    script = f"import sys\n{program}\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def test_loading_a_model_needs_neither_lightning_nor_hydra_nor_matplotlib(gaussian_run: Any) -> None:
    program = f"import vae_lightning\nvae_lightning.load({str(gaussian_run.run_dir)!r}).sample(3)"
    assert imported(program, *HEAVY) == []


@pytest.mark.parametrize("command", ["encode", "score", "reconstruct"])
def test_rows_pass_through_a_model_without_lightning(gaussian_run: Any, tmp_path: Any, command: str) -> None:
    names = [column.name for column in load(gaussian_run.run_dir).columns]
    (tmp_path / "rows.csv").write_text("\n".join([",".join(names), *[",".join("1" for _ in names)] * 5]))
    arguments = [command, str(gaussian_run.run_dir), str(tmp_path / "rows.csv"), "-o", str(tmp_path / "out.csv")]
    program = f"from vae_lightning.cli.main import main\nmain({arguments!r}, standalone_mode=False)"
    assert imported(program, *HEAVY) == []
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 6


@pytest.mark.parametrize("command", ["--help", "score --help", "doctor --help", "--version"])
def test_help_of_the_commands_imports_no_framework(command: str) -> None:
    program = f"from vae_lightning.cli.main import main\nmain({command.split()}, standalone_mode=False)"
    assert imported(program, *HEAVY, "torch", "numpy", "pandas") == []


def test_reading_rows_needs_no_torch(tmp_path: Any) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n" + "\n".join(f"{i},{i % 7}" for i in range(60)))
    program = f"from vae_lightning.data.sources.table import Table\nTable({str(tmp_path / 'rows.csv')!r}).load()"
    assert imported(program, *HEAVY, "torch") == []


@pytest.fixture
def unfreeze() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("unfreeze")
def test_no_garbage_is_looked_for_among_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """It took a fifth of the time from the command to the first step."""
    frozen = gc.get_freeze_count()
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen, "where nothing was imported, there may be garbage of the caller's"
    with importing():
        monkeypatch.setitem(sys.modules, "a_new_module", types.ModuleType("a_new_module"))
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen, "modules stay until the process ends"


def test_an_import_that_fails_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), importing():
        raise ImportError
    assert gc.isenabled()


def test_collecting_stays_off_where_it_was_off() -> None:
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
