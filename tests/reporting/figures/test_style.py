"""The look of the figures is theirs alone."""

import ast
import io
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from vae_lightning.reporting.figures.style import add_legend, create_figure, encode_png, shorten, use_style

PACKAGE = Path(__file__).parents[3] / "vae_lightning"


def test_matplotlib_keeps_its_own_settings() -> None:
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    with use_style():
        assert not matplotlib.rcParams["text.parse_math"]
        encode_png(create_figure(4, 2, "a title"))
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []


def test_matplotlib_is_imported_when_a_figure_is_drawn() -> None:
    program = (
        "import sys; import vae_lightning.sweeps.figures; assert 'matplotlib' not in sys.modules; "
        "from vae_lightning.reporting.figures.style import create_figure, encode_png, use_style\n"
        "with use_style(): encode_png(create_figure(4, 2, 'a title'))\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_no_module_imports_matplotlib_at_its_top() -> None:
    offenders = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:  # what stands under TYPE_CHECKING is not run
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            offenders += [path.name for name in names if name.split(".")[0] in ("matplotlib", "mpl_toolkits", "PIL")]
    assert not offenders


def test_pixels_are_those_of_the_figure() -> None:
    with use_style():
        figure = create_figure(4, 2, "")
        figure.add_artist(matplotlib.patches.Rectangle((0, 0), 0.5, 1, color=(1, 0, 0)))
        png = encode_png(figure)
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.mode) == ("PNG", "RGB")
    pixels = np.asarray(image)
    assert pixels.shape == (200, 400, 3)
    assert (pixels[100, 100] == (255, 0, 0)).all()
    assert (pixels[100, 300] == 255).all()


def test_a_title_longer_than_the_figure_goes_on_below() -> None:
    with use_style():
        figure = create_figure(4, 2, "a title of words " * 6)
        encode_png(figure)
        box = figure._suptitle.get_window_extent()  # type: ignore[attr-defined]
    assert figure.get_suptitle().count("\n") >= 2
    assert box.x1 < 400


def test_a_legend_tells_equal_things_once() -> None:
    with use_style():
        figure = create_figure(4, 2, "a title")
        panels = figure.subplots(1, 2)
        for axes in panels:
            axes.plot([0, 1], label="a line")
        panels[1].plot([1, 0], label="another")
        add_legend(figure, *panels)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a line", "another"]


def test_names_are_no_longer_than_a_tick() -> None:
    assert shorten("kälte_名前") == "kälte_名前"
    assert len(shorten("a" * 50)) == 24
    assert shorten("/some/very/long/path/12.csv", 18) == "/some/ve…th/12.csv"
