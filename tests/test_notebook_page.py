"""docs/notebook.md: as one program, and as the cells of a real notebook."""

import re
from pathlib import Path
from typing import Any

import pytest

from vae_lightning.cli.main import main

PAGE = (Path(__file__).parents[1] / "docs" / "notebook.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|bash)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
CELLS = [text for language, text in BLOCKS if language == "python"]


@pytest.mark.usefixtures("one_thread")
def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for language, text in BLOCKS:
        if language == "python":
            exec(compile(text, "docs/notebook.md", "exec"), names)
            continue
        for line in text.splitlines():
            main(line.removeprefix("vae-lightning ").split(), standalone_mode=False)
    assert {"curves.png", "report.html", "wine-model"} == {path.name for path in tmp_path.iterdir()}
    assert names["codes"].shape[0] == len(names["df"])
    assert 0 < len(names["strange"]) < len(names["df"]) / 5
    assert names["new"].dtypes.to_dict() == names["df"].dtypes.to_dict()


def test_five_lines_are_enough() -> None:
    statements = [line for line in CELLS[0].splitlines() if line]
    assert len(statements) == 5
    assert statements[-1].startswith("vae = VAEEstimator(")


def test_a_real_notebook_shows_the_bar_the_curves_and_the_page(tmp_path: Path) -> None:
    reason = "needs nbclient and ipykernel, which are no dependency: pip install nbclient ipykernel"
    nbformat = pytest.importorskip("nbformat", reason=reason)
    nbclient = pytest.importorskip("nbclient", reason=reason)
    pytest.importorskip("ipykernel", reason=reason)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    shown: list[str] = []
    show = client.process_message

    def listen(message: Any, *arguments: Any) -> Any:
        if message["msg_type"] in ("display_data", "update_display_data"):
            shown.append(message["content"]["data"].get("text/html", ""))
        return show(message, *arguments)

    client.process_message = listen
    client.execute()
    assert any("<progress" in html and "at most" in html for html in shown)
    (bar,) = notebook.cells[0].outputs
    assert re.match(r"epoch \d+/\d+  [\d,]+ rows/s  val nelbo", bar["data"]["text/plain"])
    (curves,), (page,) = notebook.cells[1].outputs, notebook.cells[2].outputs
    assert len(curves["data"]["image/png"]) > 10_000
    assert page["data"]["text/html"].startswith("<iframe srcdoc=")
    assert page["data"]["text/html"].count("data:image/png;base64,") >= 5
