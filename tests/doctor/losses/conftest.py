"""When these tests run: in CI, where they are named, and where what they test differs from main."""

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTED = ["tests/doctor/losses", "vae_lightning/doctor/losses", "vae_lightning/doctor/report.py"]
os.environ.setdefault("KERAS_BACKEND", "jax")  # the lightest; before any test imports Keras


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=HERE.parents[2], check=True, capture_output=True, text=True).stdout


def _differ_from_main() -> bool:
    """On main: from the commit before. True where git cannot tell."""
    try:
        base = _git("merge-base", "HEAD", "main").strip()
        base = "HEAD~" if base == _git("rev-parse", "HEAD").strip() else base
        new = _git("ls-files", "--others", "--exclude-standard", "--", *TESTED)
        return bool(new + _git("diff", "--name-only", base, "--", *TESTED))
    except (OSError, subprocess.CalledProcessError):
        return True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    named = any(Path(argument.partition("::")[0]).resolve().is_relative_to(HERE) for argument in config.args)
    if named or os.environ.get("CI") or _differ_from_main():
        return
    unchanged = pytest.mark.skip(
        reason="doctor/losses is as it is on main; CI=true or its path runs these all the same"
    )
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(unchanged)


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Thousands of calls on a handful of numbers."""
