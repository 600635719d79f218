"""TensorBoard's files, read back with TensorBoard's own reader."""

import io
from pathlib import Path

import numpy as np
import pytest
import yaml
from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from tests.conftest import Run
from vae_lightning.reporting.figures.subject import Subject
from vae_lightning.reporting.tensorboard import LAYOUT, write_projector

EVERYTHING = {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}


@pytest.fixture(scope="module")
def events(digits_run: Run) -> EventAccumulator:
    return EventAccumulator(str(digits_run.run_dir / "tensorboard"), EVERYTHING).Reload()


def values(events: EventAccumulator, tag: str) -> list[float]:
    return [event.value for event in events.Scalars(tag)]


def text(events: EventAccumulator, tag: str) -> str:
    return events.Tensors(f"{tag}/text_summary")[0].tensor_proto.string_val[0].decode()


def test_every_chart_of_the_layout_finds_its_scalars(events: EventAccumulator) -> None:
    import re

    layout = Layout.FromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    shown = {
        category.title: {chart.title: list(chart.multiline.tag) for chart in category.chart}
        for category in layout.category
    }
    assert shown == LAYOUT
    tags = events.Tags()["scalars"]
    for charts in shown.values():
        for patterns in charts.values():
            assert all(any(re.match(pattern, tag) for tag in tags) for pattern in patterns)


def test_curves_are_those_of_metrics_csv(events: EventAccumulator, digits_run: Run) -> None:
    metrics = digits_run.metrics
    for name in ("val/nelbo", "train/kl", "lr"):
        np.testing.assert_allclose(values(events, name), metrics[name], rtol=1e-6)
    dimensions = np.array([values(events, f"latent_kl/z{index}") for index in range(5)])
    np.testing.assert_allclose(dimensions.sum(0), metrics["val/kl"], rtol=1e-5)
    assert len(values(events, "rate/rows_per_second")) == 5
    rows = np.array(values(events, "rate/rows_per_second")) * values(events, "rate/seconds_per_epoch")
    np.testing.assert_allclose(rows, digits_run.summary["data"]["rows"]["train"], rtol=1e-5)


def test_more_columns_than_one_can_read_are_three_curves(events: EventAccumulator) -> None:
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("column_nll/")]
    assert tags == ["column_nll/least", "column_nll/median", "column_nll/greatest"]


def test_bars_of_an_epoch_are_the_kl_of_each_dimension(events: EventAccumulator, digits_run: Run) -> None:
    series = events.Histograms("latent/kl_of_each_dimension")
    last = series[-1].histogram_value
    expected = [values(events, f"latent_kl/z{index}")[-1] for index in range(5)]
    assert len(series) == len(digits_run.metrics)
    np.testing.assert_allclose(last.bucket, expected, rtol=1e-6)
    assert list(last.bucket_limit) == [1, 2, 3, 4, 5]


def test_pictures_are_the_very_files(events: EventAccumulator, digits_run: Run) -> None:
    folder = digits_run.run_dir / "figures"
    tags = events.Tags()["images"]
    assert {tag.rpartition("/")[2] for tag in tags} == {path.stem for path in folder.glob("*.png")}
    for tag in tags:
        last = events.Images(tag)[-1]
        assert last.encoded_image_string == (folder / f"{tag.rpartition('/')[2]}.png").read_bytes()
        with Image.open(io.BytesIO(last.encoded_image_string)) as image:
            assert image.size == (last.width, last.height)


def test_figures_come_every_second_epoch_and_at_the_end(events: EventAccumulator, digits_run: Run) -> None:
    per_epoch = digits_run.metrics["step"].iloc[0]
    assert [event.step for event in events.Images("latent/kl")] == [2 * per_epoch, 4 * per_epoch, 5 * per_epoch]
    assert [event.step for event in events.Images("training/terms")] == [5 * per_epoch]


def test_histograms_hold_the_codes(events: EventAccumulator, digits: Subject) -> None:
    means = events.Histograms("codes/posterior_means")[-1].histogram_value
    assert means.num == digits.means.size
    assert means.sum == pytest.approx(digits.means.sum(), rel=1e-4)
    prior = events.Histograms("codes/prior")[-1].histogram_value
    assert np.sqrt(prior.sum_squares / prior.num) == pytest.approx(1, abs=0.01)
    assert list(prior.bucket_limit) == list(
        events.Histograms("codes/aggregate_posterior")[-1].histogram_value.bucket_limit
    )


def test_the_text_tab_holds_configuration_and_findings(events: EventAccumulator, digits_run: Run) -> None:
    fenced = text(events, "configuration")
    assert fenced.startswith("```yaml\n")
    read = yaml.safe_load(fenced.removeprefix("```yaml\n").removesuffix("```"))
    assert read["data"].items() >= digits_run.config["data"].items()
    assert read["callbacks"]["figures"]["dirpath"] == "${run_dir}/figures"
    assert str(digits_run.run_dir) not in fenced
    findings = text(events, "doctor")
    assert "SUPPORT (data)" in findings
    assert "Recorded was a validation NELBO" in findings


def test_the_projector_has_codes_labels_and_pictures(digits_run: Run, digits: Subject) -> None:
    folder = digits_run.run_dir / "tensorboard"
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (info,) = config.embeddings
    codes = np.fromfile(folder / info.tensor_path, "<f4").reshape(info.tensor_shape)
    np.testing.assert_allclose(codes, digits.means, rtol=1e-6)
    labels = (folder / info.metadata_path).read_text().splitlines()
    assert digits.labels is not None
    assert labels == [str(label) for label in digits.labels]
    with Image.open(folder / info.sprite.image_path) as sprite:
        side = int(np.ceil(np.sqrt(len(codes))))
        assert sprite.size == (side * 8, side * 8)
        row, column = divmod(17, side)
        pixels = np.asarray(sprite)[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
    np.testing.assert_allclose(pixels.ravel() / 255, digits.rows[17] / 16, atol=0.003)


def test_labels_of_any_sort_are_a_line_each(tmp_path: Path) -> None:
    write_projector(tmp_path, np.zeros((3, 2)), np.array(["a\tb", "c\nd", ""]))
    assert (tmp_path / "labels.tsv").read_text() == "a b\nc d\n\n"
    assert not (tmp_path / "sprite.png").exists()


def test_pictures_too_large_for_a_browser_are_left_out(tmp_path: Path) -> None:
    write_projector(tmp_path, np.zeros((4, 2)), images=np.zeros((4, 5000, 1)))
    assert not (tmp_path / "sprite.png").exists()
    assert "sprite" not in (tmp_path / "projector_config.pbtxt").read_text()
