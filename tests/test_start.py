"""Start-up: nobody waits for what they do not use."""

import subprocess
import sys
from typing import Any

import pytest

HEAVY = ("lightning", "hydra", "omegaconf", "matplotlib", "torchmetrics", "sklearn", "optuna")


def imported(program: str, *names: str) -> list[str]:
    """Which of the packages a fresh process has imported after ``program``."""
    script = f"import sys\n{program}\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def test_loading_a_model_needs_neither_lightning_nor_hydra_nor_matplotlib(gaussian_run: Any) -> None:
    program = f"import vae_lightning\nvae_lightning.load({str(gaussian_run.run_dir)!r}).sample(3)"
    assert imported(program, *HEAVY) == []


@pytest.mark.parametrize("command", ["--help", "score --help", "doctor --help", "--version"])
def test_help_of_the_commands_imports_no_framework(command: str) -> None:
    program = f"from vae_lightning.cli.main import main\nmain({command.split()}, standalone_mode=False)"
    assert imported(program, *HEAVY, "torch", "numpy", "pandas") == []


def test_reading_rows_needs_no_torch(tmp_path: Any) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n" + "\n".join(f"{i},{i % 7}" for i in range(60)))
    program = f"from vae_lightning.data.sources.table import Table\nTable({str(tmp_path / 'rows.csv')!r}).load()"
    assert imported(program, *HEAVY, "torch") == []
