"""``vae-lightning doctor``: four ways to ask, three exit statuses, no traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vae_lightning.cli.main import main
from vae_lightning.doctor.losses.cases.question import PUBLISHED

LOSSES = """
import torch

print("training starts")

def kl(m, s):
    return 0.5 * (m**2 + s.exp() - 1 - s).sum(1).mean()

def draw(m, s):
    return m + (s / 2).exp() * torch.randn_like(m)

def raw(m, s):
    return m + s * torch.randn_like(m)
"""


def doctor(*arguments: object, pasted: str | None = None) -> Result:
    result = CliRunner().invoke(main, ["doctor", *map(str, arguments)], input=pasted)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def losses(tmp_path: Path) -> Path:
    path = tmp_path / "losses.py"
    path.write_text(LOSSES)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "my.csv"
    path.write_text("a,b\n" + "".join(f"{i % 7},{(i * 37) % 101 / 2}\n" for i in range(100)))
    return path


def test_file_of_functions(losses: Path) -> None:
    assert doctor(losses).exit_code == 0
    wrong = doctor(losses, "--kl", "kl", "--sample", "raw")
    assert wrong.exit_code == 1
    assert "[WRONG] RAW-AS-STD" in wrong.stdout
    missing = doctor(losses, "--kl", "no_such")
    assert missing.exit_code == 2
    assert "It has: kl, draw, raw" in " ".join(missing.stdout.split())


def test_what_the_file_prints_is_no_part_of_the_report(losses: Path) -> None:
    result = doctor(losses, "--kl", "kl", "--json")
    assert json.loads(result.stdout)["ok"] is True
    assert "training starts" in result.stderr


def test_rows_beside_a_file(losses: Path, table: Path) -> None:
    losses.write_text(
        "from torch.nn.functional import binary_cross_entropy_with_logits as bce\n"
        "def reconstruction(x, out):\n    return bce(out, x, reduction='none').sum(1).mean()\n"
    )
    assert doctor(losses).exit_code == 0
    assert "BCE-RANGE" in doctor(losses, "--data", table).stdout


def test_history_in_a_file_and_pasted(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text("loss,val_loss\n" + "".join(f"{one},{other}\n" for one, other in PUBLISHED))
    options = ("--columns", 224, "--likelihood", "bernoulli")
    for result in (
        doctor("--history", path, *options),
        doctor("--history", "-", *options, pasted=path.read_text()),
    ):
        assert result.exit_code == 1
        assert "2 finding(s): BELOW-FLOOR, SIGN-FLIP." in result.stdout


def test_history_beside_its_rows(tmp_path: Path, table: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text("loss\n5\n4\n3\n")
    assert "independent columns" in doctor("--history", path, "--likelihood", "gaussian", "--data", table).stdout


def test_table(table: Path) -> None:
    assert doctor("--data", table).exit_code == 0
    result = doctor("--data", table, "--likelihood", "bernoulli")
    assert result.exit_code == 1
    assert "BCE-RANGE" in result.stdout
    assert doctor("--data", table.with_name("none.csv")).exit_code == 2


def test_run_directory(gaussian_run, tmp_path: Path) -> None:
    result = doctor(gaussian_run.run_dir)
    assert result.exit_code == 0
    assert "No law is broken." in result.stdout
    assert doctor(tmp_path).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Give a Python file, a run directory, --history FILE or --data FILE."),
        (("none.py",), "There is no file or directory none.py."),
        (("my.csv",), "type --data or --history before it"),
        (("--kl", "kl", "--data", "my.csv"), "--kl name functions of a Python file"),
        (("losses.py", "--history", "x.csv"), "not both"),
        (("--data", "my.csv", "--columns", "3"), "--columns belongs to --history."),
        (("--data", "my.csv", "--likelihood", "gausian"), "must be one of bernoulli"),
        (("--history", "none.csv"), "must be a file that exists"),
        (("losses.py", "--data", "none.csv"), "There is no file 'none.csv'"),
        (("losses.py", "--beta", "-1"), "The 'beta' parameter of diagnose must be positive"),
    ],
)
def test_mistakes_of_the_user_are_one_line(
    arguments: tuple[str, ...], told: str, losses: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses.with_name("my.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(losses.parent)
    result = doctor(*arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom vae_lightning.cli.main import main\n"
        "assert 'Exit status' in CliRunner().invoke(main, ['doctor', '--help']).output\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
