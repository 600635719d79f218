"""report.html: one file, whole in itself, that runs nothing."""

import base64
import io
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import Run
from vae_lightning.config.settings import Settings
from vae_lightning.doctor.report import Finding
from vae_lightning.errors import ConfigError
from vae_lightning.reporting.figures.gallery import PLOTS
from vae_lightning.reporting.html import Page, render


class Reader(HTMLParser):
    """Tags with their attributes, and the words between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(word for word in self.words if word)


@pytest.fixture(scope="module")
def page(digits_run: Run) -> Reader:
    return Reader((digits_run.run_dir / "report.html").read_text(encoding="utf-8"))


def test_nothing_is_fetched_and_nothing_runs(page: Reader, digits_run: Run) -> None:
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:")
    html = (digits_run.run_dir / "report.html").read_text(encoding="utf-8")
    assert "url(" not in html
    assert "@import" not in html
    (policy,) = [a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv")]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_every_figure_is_in_it_with_how_to_read_it(page: Reader, digits_run: Run) -> None:
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    files = {path.stem: path.read_bytes() for path in (digits_run.run_dir / "figures").glob("*.png")}
    shown = [plot for plot in PLOTS if plot.name in files]
    assert [image["alt"] for image in images] == [plot.heading for plot in shown]
    for image, plot in zip(images, shown, strict=True):
        content = base64.b64decode((image["src"] or "").removeprefix("data:image/png;base64,"), validate=True)
        assert content == files[plot.name]
        Image.open(io.BytesIO(content)).verify()
        assert plot.caption in page.text


def test_it_says_what_was_trained_and_what_came_of_it(page: Reader, digits_run: Run) -> None:
    test = digits_run.summary["test"]
    for words in (
        "digits, 64 columns, 1,258 rows to train on, 180 to validate, 359 to test",
        "5 latent dimensions, likelihood bernoulli",
        f"{test['nll']:.3f}",
        f"{test['baseline']:.3f}",
        "SUPPORT (data): All rows are",
        "name: digits",
        "weight_decay: 0",
        "accumulate_grad_batches: 1",
    ):
        assert words in page.text
    assert str(digits_run.run_dir) not in page.text


def test_words_from_data_are_no_markup() -> None:
    name = "<b onload=alert(1)>\"&'"
    found = Finding("BASELINE", False, f"{name} is bad.", f"Drop {name}.", about=name)
    html = render(
        Page(name, {"data": name}, [(name, name, name)], name, [found], [name], configuration=f"drop: {name}")
    )
    reader = Reader(html)
    assert "b" not in {tag for tag, _ in reader.tags}
    assert " ".join(name.split()) in reader.text
    assert html.count("&lt;b onload=alert(1)&gt;&#34;&amp;&#39;") == 12


@pytest.fixture(scope="module")
def plain_run(train: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Reported on, without figures; with TensorBoard. Read only."""
    return train(tmp_path_factory.mktemp("runs") / "plain", "report=", "logger=both")


def test_a_run_without_figures_has_its_page_all_the_same(plain_run: Run) -> None:
    page = Reader((plain_run.run_dir / "report.html").read_text(encoding="utf-8"))
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "This run drew none" in page.text
    assert "leave out callbacks.figures=null" in page.text
    assert not (plain_run.run_dir / "figures").exists()
    assert f"{plain_run.summary['test']['nll']:.3f}" in page.text
    assert "SUPPORT (data): All rows are" in page.text
    assert "name: synthetic" in page.text
    seconds = plain_run.summary["seconds"]
    assert seconds["figures"] == 0
    assert min(seconds["doctor"], seconds["report"]) > 0


def test_tensorboard_has_its_texts_without_figures_too(plain_run: Run) -> None:
    events = EventAccumulator(str(plain_run.run_dir / "tensorboard"), {"tensors": 0}).Reload()
    assert {"doctor/text_summary", "configuration/text_summary"} <= set(events.Tags()["tensors"])


def test_the_page_can_be_left_out_and_the_figures_stay(train: Callable[..., Run], tmp_path: Path) -> None:
    run = train(tmp_path, "report=false", "callbacks.figures=")
    assert not (tmp_path / "report.html").exists()
    assert list((tmp_path / "figures").glob("*.png"))
    seconds = run.summary["seconds"]
    assert seconds["doctor"] == seconds["report"] == 0
    assert seconds["figures"] > 0


def test_figures_that_all_failed_are_told() -> None:
    html = render(Page("a", {}, [], "fine", [], [], "", figures=[]))
    assert "None could be drawn: train.log says why." in Reader(html).text


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_whether_to_report_is_a_truth_value(
    compose_config: Callable[..., dict[str, Any]], tmp_path: Path, value: Any
) -> None:
    config = {**compose_config(tmp_path), "report": value}
    with pytest.raises(ConfigError, match=r"The 'report' parameter of train.py must be true or false. Got"):
        Settings.parse(config)


def test_the_template_is_in_the_package() -> None:
    assert (Path(__file__).parents[2] / "vae_lightning" / "reporting" / "report.html.j2").is_file()
