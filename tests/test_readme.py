"""Every command in the README, from top to bottom, in a fresh copy of the project."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(bash|python)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
BLOCKS = FENCED.findall(README)
TUTORIAL = ROOT / "docs" / "tutorial.md"
PYTHON = ROOT / "docs" / "python.md"  # tests/test_python_page.py runs it: Lightning itself warns
SETUP = re.compile(
    r"python3 -m venv \.venv && \. \.venv/bin/activate && pip install -c constraints\.txt -e \S+ && (.*)"
)


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=550, env=environment())
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme") / "vae_lightning"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "outputs", "multirun", "tests"))
    return folder


def test_the_readme_has_its_two_set_up_commands() -> None:
    """.ci/run executes these two word for word, each in an environment of its own."""
    commands = [m[1] for m in (SETUP.fullmatch(line) for _, text in BLOCKS for line in text.splitlines()) if m]
    assert commands == ["python train.py", "pytest"]


def test_every_block_runs_in_order(copy: Path) -> None:
    for language, text in BLOCKS:
        if language == "python":
            run(sys.executable, "-W", "error", "-c", text, cwd=copy)
            continue
        for line in text.strip().splitlines():
            command = SETUP.sub(r"\1", line)
            if command != "pytest":
                run("bash", "-c", command, cwd=copy)
    summaries = [json.loads(path.read_text()) for path in copy.rglob("summary.json")]
    assert len(summaries) == 20
    assert len(list(copy.glob("multirun/first/*/summary.json"))) == 8
    assert len(list(copy.glob("multirun/lr/*/summary.json"))) == 4


def test_the_doctor_says_what_the_readme_shows(copy: Path) -> None:
    (shown,) = re.findall(r"^```console\n\$ (vae-lightning doctor losses\.py)\n(.*?)^```", README, re.M | re.S)
    (copy / "losses.py").write_text(next(text for _, text in BLOCKS if text.startswith("# losses.py")))
    done = subprocess.run(shown[0].split(), cwd=copy, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 1
    assert done.stdout.startswith(shown[1])


@pytest.mark.parametrize("overrides", [[], ["likelihood=gaussian"], ["experiment=forum_question"]], ids=str)
def test_the_main_jobs_beat_the_baseline(copy: Path, overrides: list[str]) -> None:
    summaries = [json.loads(path.read_text()) for path in copy.glob("outputs/*/*/summary.json")]
    mine = [summary for summary in summaries if summary["overrides"] == overrides]
    assert mine, "test_every_block_runs_in_order trains these"
    assert all(summary["test"]["nll"] < summary["test"]["baseline"] for summary in mine)


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        targets = re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8"))
        assert all((document.parent / target).exists() for target in targets)


def test_the_examples_of_the_documents_run(tmp_path: Path) -> None:
    for document in set((ROOT / "docs").glob("*.md")) - {TUTORIAL, PYTHON}:
        for text in re.findall(r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S):
            run(sys.executable, "-W", "error", "-c", text, cwd=tmp_path)


def test_the_tutorial_runs_from_top_to_bottom_in_an_empty_directory(tmp_path: Path) -> None:
    for language, text in FENCED.findall(TUTORIAL.read_text(encoding="utf-8")):
        if language == "python":
            run(sys.executable, "-W", "error", "-c", text, cwd=tmp_path)
            continue
        for line in text.strip().splitlines():
            # The doctor's status is 1 where something is wrong, as the text says.
            run("bash", "-c", f"{line} || [ $? = 1 ]" if "doctor --data" in line else line, cwd=tmp_path)


def test_every_code_is_documented() -> None:
    from vae_lightning.doctor import CODES

    table = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert all(f"| {code} | {words} |" in table for code, words in CODES.items())
