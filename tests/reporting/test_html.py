"""report.html: one file, whole in itself, that runs nothing."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run
from vae_lightning.doctor.report import Finding
from vae_lightning.reporting.figures.gallery import KINDS
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
    shown = [kind for kind in KINDS if kind.name in files]
    assert [image["alt"] for image in images] == [kind.heading for kind in shown]
    for image, kind in zip(images, shown, strict=True):
        content = base64.b64decode((image["src"] or "").removeprefix("data:image/png;base64,"), validate=True)
        assert content == files[kind.name]
        Image.open(io.BytesIO(content)).verify()
        assert kind.reading in page.text


def test_it_says_what_was_trained_and_what_came_of_it(page: Reader, digits_run: Run) -> None:
    test = digits_run.summary["test"]
    for words in (
        "digits, 64 columns, 1,258 rows to train on, 180 to validate, 359 to test",
        "5 latent dimensions, bernoulli likelihood",
        f"{test['nll']:.3f}",
        f"{test['baseline']:.3f}",
        "SUPPORT (data): All rows are",
        "_target_: vae_lightning.data.sources.digits.Digits",
    ):
        assert words in page.text
    assert str(digits_run.run_dir) not in page.text


def test_words_from_data_are_no_markup() -> None:
    name = "<b onload=alert(1)>\"&'"
    found = Finding("BASELINE", False, f"{name} is bad.", f"Drop {name}.", about=name)
    html = render(
        Page(name, {"data": name}, [(name, name, name)], name, [found], [name], (), configuration=f"drop: {name}")
    )
    reader = Reader(html)
    assert "b" not in {tag for tag, _ in reader.tags}
    assert " ".join(name.split()) in reader.text
    assert html.count("&lt;b onload=alert(1)&gt;&#34;&amp;&#39;") == 12


def test_the_template_is_in_the_package() -> None:
    assert (Path(__file__).parents[2] / "vae_lightning" / "reporting" / "report.html.j2").is_file()
