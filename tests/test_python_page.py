"""docs/python.md, from top to bottom, as one program."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import vae_lightning
from vae_lightning.console import quiet_frameworks
from vae_lightning.likelihoods.base import Likelihood

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("one_thread")
def test_the_page_runs_and_its_models_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    with quiet_frameworks():
        for block in BLOCKS:
            exec(compile(block, "docs/python.md", "exec"), names)
    losses = names["losses"]
    assert isinstance(losses, list)
    assert len(losses) == 5 * 13
    assert sum(losses[-13:]) < sum(losses[:13])


def test_one_needs_fifteen_lines_for_all_of_ones_own() -> None:
    statements = [line for line in BLOCKS[0].splitlines() if line and not line.startswith(("import", "from"))]
    assert len(statements) <= 15
    for own in ("rows", "DataLoader(", "Trainer(", "(Callback)", "(VAEModule)"):
        assert own in BLOCKS[0]


def test_every_likelihood_is_imported_by_the_name_of_its_class() -> None:
    for family in Likelihood.families().values():
        assert getattr(vae_lightning, family.__name__) is family
    assert all(getattr(vae_lightning, name) is not None for name in vae_lightning.__all__)
    for name in ("Gausian", "likelihood", "_private"):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
            getattr(vae_lightning, name)


def test_the_package_itself_waits_for_nothing_heavy() -> None:
    program = "import sys, vae_lightning; print(sorted({'torch', 'lightning', 'numpy', 'hydra'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
