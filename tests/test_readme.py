"""What the documents show: their commands run, their numbers come out, their links and names lead somewhere."""

import json
import pkgutil
import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from vae_lightning import __version__
from vae_lightning.cli.main import main, train
from vae_lightning.config.overrides import prepare_overrides
from vae_lightning.doctor import CODES

pytestmark = pytest.mark.usefixtures("one_thread", "flush_denormal")

ROOT = Path(__file__).parents[1]
README, DOCS = ROOT / "README.md", ROOT / "docs"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
IN_ORDER = [README, *(DOCS / name for name in ("use.md", "guide.md", "tutorial.md"))]
"""Whose blocks build on one another; the Python of the others stands alone."""
SETUP = re.compile(r"python3 -m venv \.venv && \. \.venv/bin/activate && pip install -c constraints\.txt -e \S+ && ")
COMMAND = re.compile(r"\b(python (train\.py|scripts/|-m vae_lightning)|vae-lightning \w)")
SHORT = ["test.num_samples=50", "callbacks.figures=null"]
A_TOUCH = [*SHORT, "trainer.max_epochs=1"]


def read(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def blocks(document: Path, *languages: str) -> list[tuple[str, str]]:
    """The fenced blocks in these languages, each with its language."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", read(document), re.MULTILINE | re.DOTALL)
    return [(language, text) for language, text in found if language in languages]


def lines(text: str) -> list[str]:
    return [SETUP.sub("", line) for line in text.replace("\\\n", " ").splitlines()]


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def type_in(line: str, settings: list[str]) -> int:
    """Run a line as a shell would split it, in this process, where torch is at hand; its exit status.

    That the two programs also start from a shell is what .ci/run and the wheel's tests show.
    """
    try:
        match words(line):
            case ["python", "train.py", *overrides]:
                train([*overrides, *settings])
            case ["vae-lightning", "train", *overrides]:
                main(["train", *overrides, *settings], standalone_mode=False)
            case ["vae-lightning", *arguments]:
                main(arguments, standalone_mode=False)
            case _:
                raise AssertionError(f"Who runs this? {line}")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def run_python(text: str) -> None:
    exec(compile(text, "a block of the documents", "exec"), {"__name__": "__main__"})


def run(document: Path, settings: list[str], fails: str = "-") -> None:
    """Every block of a document, in order; exit status 1 where a line starts with ``fails``, 0 everywhere else."""
    for language, text in blocks(document, "bash", "python"):
        if language == "python":
            run_python(text)
            continue
        for line in lines(text):
            if line != "pytest":
                short = A_TOUCH if " -m " in line else settings
                assert type_in(line, short) == line.startswith(fails), line


def test_the_page_on_tables_runs_on_some_rows_of_adult(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Callable[[str], dict[str, np.ndarray]]
) -> None:
    stored = shared_data("hivae_adult.npz")
    words = "age workclass fnlwgt education marital occupation relationship race sex gain loss hours"
    names = words.split(" ")
    rows = pd.DataFrame(stored["x"][:1500], columns=names)
    is_text = [str(kind).startswith("cat") for kind in stored["types"]]
    for name in np.array(names)[is_text]:
        rows[name] = rows[name].map(lambda code, name=name: f"{name} {code:.0f}", na_action="ignore")
    rows["sex"] = np.where(stored["x"][:1500, 8] == 1, "Male", "Female")
    monkeypatch.chdir(tmp_path)
    rows.to_csv("adult.csv", index=False)
    run(DOCS / "tables.md", A_TOUCH, fails="vae-lightning doctor")
    drawn, filled = pd.read_csv("synthetic.csv"), pd.read_csv("full.csv")
    assert list(drawn) == list(filled) == names
    assert set(drawn["workclass"]) <= set(rows["workclass"].dropna())
    assert (pd.read_csv("women.csv")["sex"] == "Female").all()
    assert not filled.isna().any(axis=None)
    kept = rows.notna().to_numpy()
    assert (filled.to_numpy()[kept] == rows.to_numpy()[kept]).all()
    assert len(pd.read_csv("many.csv")) == 5 * len(rows)


def similar(line: str) -> str:
    """A line of a table, its numbers and spaces left out."""
    return re.sub(r"\s+", " ", re.sub(r"-?[\d,.]*\d", "#", line)).strip()


def first_number(line: str) -> float:
    return float(re.findall(r"-?\d+\.\d+|$", line)[0] or "nan")


def test_the_readme_is_short_and_has_its_two_set_up_commands() -> None:
    """.ci/run executes these two word for word, each in an environment of its own."""
    typed = [line for _, text in blocks(README, "bash") for line in text.splitlines()]
    assert [SETUP.sub("", line) for line in typed if SETUP.match(line)] == ["python train.py", "pytest"]
    assert len(read(README).splitlines()) <= 160


def test_the_readme_runs_from_top_to_bottom_and_its_table_comes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run(README, [])
    # Later runs print tables of the same words; what the first says, which is the one shown, is kept.
    said = {similar(line): first_number(line) for line in reversed(capsys.readouterr().out.splitlines())}
    ((_, shown),) = blocks(README, "text")
    verdict, table = shown.split("\n\n")  # the one folded as a terminal does it
    for line in (verdict.replace("\n", " "), *table.splitlines()):
        assert said.get(similar(line)) == pytest.approx(first_number(line), abs=0.5, nan_ok=True), line
    assert len(list(tmp_path.glob("multirun/first/*/summary.json"))) == 8
    # The page on trained models goes on with what the README has trained.
    run(DOCS / "use.md", [])


def test_what_the_guide_types_runs_and_beats_the_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(DOCS / "guide.md", SHORT)
    summaries = [json.loads(path.read_text()) for path in tmp_path.glob("outputs/**/summary.json")]
    assert len(summaries) == 6
    assert not [s["overrides"] for s in summaries if s["test"]["nll"] >= s["test"]["baseline"]]


def test_the_tutorial_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # The doctor's status is 1 where something is wrong, as the text says: with the short training.
    run(DOCS / "tutorial.md", [], fails="vae-lightning doctor outputs")


def test_the_examples_of_the_other_pages_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for document in DOCUMENTS:
        if document not in IN_ORDER and document.name not in (
            "python.md",
            "notebook.md",
        ):  # which have tests of their own
            for _, text in blocks(document, "python"):
                if not text.startswith("# losses.py"):
                    run_python(text)


def test_the_doctor_says_what_the_documents_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (losses,) = [text for _, text in blocks(DOCS / "doctor.md", "python") if text.startswith("# losses.py")]
    Path("losses.py").write_text(losses)
    (command, whole), (again, excerpt) = (
        text.removeprefix("$ ").split("\n", 1)
        for document in (DOCS / "doctor.md", README)
        for _, text in blocks(document, "console")
        if text.startswith("$ vae-lightning doctor losses.py\n")
    )
    assert command == again
    assert type_in(command, []) == 1
    said = capsys.readouterr().out
    assert said.startswith(whole)
    assert [part for part in excerpt.split("...\n") if part not in said] == []


def test_every_other_command_is_legal() -> None:
    """Those that are not run here are at least made of settings that exist."""
    for document in {*DOCUMENTS} - {*IN_ORDER}:
        for _, text in blocks(document, "bash", "console"):
            for line in lines(text):
                match words(line.removeprefix("$ ")) if "python train.py" in line else []:
                    case ["python", "train.py", *overrides]:
                        prepare_overrides(overrides)


def test_what_is_shown_can_be_pasted_into_any_shell() -> None:
    """zsh takes a bare bracket for a pattern, PowerShell a bare comma for a list: such words are quoted as a whole."""
    bare = re.compile(r"""(?:'[^']*'|"[^"$`!\\]*"|[\w./:+-][\w./:=+-]*)+""")
    offenders = []
    for document in DOCUMENTS:
        shown = [line for _, text in blocks(document, "bash") for line in lines(text)]
        shown += [line[2:] for _, text in blocks(document, "console") for line in lines(text) if line.startswith("$ ")]
        shown += re.findall(r"`((?:python|vae-lightning) [^`\n]+|[\w.]+=[^`\n|]+)`", read(document))
        for line in shown:
            typed = re.findall(r"""(?:'[^']*'|"[^"]*"|\S)+""", line.partition(" #")[0])
            offenders += [f"{document.name}: {word} in {line}" for word in typed if not bare.fullmatch(word)]
    assert not offenders, "\n".join(offenders)


def test_the_page_on_settings_is_what_the_constructors_say() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "settings_page.py"))["page"]
    assert read(DOCS / "settings.md") == page(), "python scripts/settings_page.py writes docs/settings.md anew"


def test_links_and_names_lead_somewhere() -> None:
    offenders = []
    for document in DOCUMENTS:
        text = read(document)
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            if not (document.parent / target).exists():
                offenders.append(f"{document.name}: {target}")
        for path in re.findall(r"`((?:conf|docs|scripts|tests|vae_lightning|hydra_plugins)/[\w/.]+)`", text):
            if "NAME" not in path and not (ROOT / path).exists():
                offenders.append(f"{document.name}: {path}")
        for script in re.findall(r"python (scripts/\w+\.py)", text):
            if not (ROOT / script).exists():
                offenders.append(f"{document.name}: {script}")
        for name in re.findall(r"\bvae_lightning(?:\.\w+)+", text):
            try:
                pkgutil.resolve_name(name)
            except (ImportError, AttributeError):
                offenders.append(f"{document.name}: {name}")
    assert not offenders


def test_every_page_is_in_the_readmes_list() -> None:
    linked = {(ROOT / target).resolve() for target in re.findall(r"\]\(([^)#:]+)\)", read(README))}
    assert {*DOCUMENTS[1:]} <= linked


def test_every_table_of_numbers_stands_beside_the_command_that_makes_it() -> None:
    """A table of numbers: one that has three with a decimal point; beside it: under the same heading."""
    offenders = []
    for document in DOCUMENTS:
        for section in re.split(r"^## ", read(document), flags=re.MULTILINE):
            tables = re.findall(r"(?:^\|.*\n)+|^```text\n(?:.*\n)*?```", section, re.MULTILINE)
            numbers = [table for table in tables if len(re.findall(r"(?<![\w.])\d*\.\d+", table)) >= 3]
            # The page on settings, which another test holds against its script, names that once for all its tables.
            if numbers and not COMMAND.search(section) and document.name != "settings.md":
                offenders.append(f"{document.name}: {section.splitlines()[0]}")
    assert not offenders


def test_every_code_of_the_doctor_is_documented() -> None:
    table = read(DOCS / "doctor.md")
    assert not [code for code, meaning in CODES.items() if f"| {code} | {meaning} |" not in table]


def test_the_citation_names_this_version() -> None:
    assert yaml.safe_load(read(ROOT / "CITATION.cff"))["version"] == __version__
