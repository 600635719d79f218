"""The built wheel carries the configuration and a command, and trains in an empty directory."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    def build(folder: Path) -> None:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
        subprocess.run(command, check=True, capture_output=True, timeout=300)

    return next(made_once("wheel", build).glob("*.whl"))


def test_wheel_holds_every_configuration_file(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packed = {name for name in names if name.endswith(".yaml")}
    assert packed == {f"vae_lightning/{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("conf/**/*.yaml")}
    assert "vae_lightning/reporting/report.html.j2" in names
    # Where Hydra looks for launchers and sweepers: a namespace that other packages share, so without an __init__.
    plugins = [f"hydra_plugins/vae_lightning_{kind}.py" for kind in ("launcher", "sweepers")]
    assert sorted(name for name in names if name.startswith("hydra_plugins/")) == plugins


def test_installed_wheel_trains_without_a_checkout(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    # First on the path, so that this is the wheel's package and not the checkout the tests run from.
    first = f"import sys; sys.path.insert(0, {str(site)!r})"
    program = f"{first}; from vae_lightning.cli.main import main, CONF; print(CONF); main()"
    arguments = ["train", "trainer.max_epochs=2", "test.num_samples=5", "hydra.run.dir=run"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=empty, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(site))
    assert (empty / "run" / "summary.json").exists()
    assert (empty / "run" / "report.html").exists()
    assert (site / "bin" / "vae-lightning").exists()
