"""What TensorBoard's pages are made of, written straight into a run's event file.

Straight, because a writer that wraps every number in an event of its own, and re-encodes every picture, costs a small
network a share of its epoch that these pages are not worth.
"""

import io
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.histogram_pb2 import HistogramProto
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.projector.projector_config_pb2 import EmbeddingInfo, ProjectorConfig

from vae_lightning.files import write_whole

LAYOUT = {
    "Loss terms": {
        "NELBO = reconstruction + KL (β = 1)": ["^train/nelbo$", "^val/nelbo$"],
        "reconstruction": ["^train/reconstruction$", "^val/reconstruction$"],
        "KL": ["^train/kl$", "^val/kl$"],
        "what training minimises": ["^train/loss$"],
        "weight of the KL in it": ["^train/beta$"],
    },
    "Latent code": {"active units": ["^val/active_units$"], "KL of each dimension": ["^latent_kl/.*"]},
    "Variance and saturation": {
        "share of the likelihood's variances at their floor": ["^val/variance_at_floor$"],
        "share of the posterior's log-variances at their bound": ["^val/log_var_at_bound$"],
    },
    "Learning rate": {"learning rate": ["^lr$"]},
    "Rates": {"training rows a second": ["^rate/rows_per_second$"], "seconds an epoch": ["^rate/seconds_per_epoch$"]},
    "Per-column NLL": {"-E[log p(column|z)], validation, nats in data units": ["^column_nll/.*"]},
}
"""The custom-scalars page: category → chart → the scalars in it."""
MAX_SPRITE = 8192
"""Pixels along a side that browsers take as a texture."""


def add_layout(writer: Any) -> None:
    """Lay out the custom-scalars page."""
    charts = {name: {title: ["Multiline", tags] for title, tags in each.items()} for name, each in LAYOUT.items()}
    writer.add_custom_scalars(charts)


def add_scalars(writer: Any, values: Mapping[str, float], step: int) -> None:
    """Many scalars as one event."""
    _add(writer, [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()], step)


def add_picture(writer: Any, tag: str, png: bytes, step: int) -> None:
    """A finished PNG, as it is."""
    width, height = struct.unpack(">II", png[16:24])  # where every PNG says it
    image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
    _add(writer, [Summary.Value(tag=tag, image=image)], step)


def add_bars(writer: Any, tag: str, heights: np.ndarray, step: int) -> None:
    """A bar chart an epoch: a histogram whose n-th bin, from n to n + 1, is as high as ``heights[n]``."""
    count = len(heights)
    histogram = HistogramProto(
        min=0, max=count, num=float(heights.sum()), bucket_limit=range(1, count + 1), bucket=heights.tolist()
    )
    _add(writer, [Summary.Value(tag=tag, histo=histogram)], step)


def add_histogram(writer: Any, tag: str, values: np.ndarray, bins: np.ndarray, step: int) -> None:
    """A histogram over ``bins``; what lies beyond them counts into the outermost ones."""
    counts = np.histogram(np.clip(values, bins[0], bins[-1]), bins)[0]
    histogram = HistogramProto(
        min=bins[0],
        max=bins[-1],
        num=values.size,
        sum=float(values.sum()),
        sum_squares=float(np.square(values).sum()),
        bucket_limit=bins[1:].tolist(),
        bucket=counts.tolist(),
    )
    _add(writer, [Summary.Value(tag=tag, histo=histogram)], step)


def add_text(writer: Any, tag: str, markdown: str, step: int) -> None:
    """A page of Markdown in the text tab."""
    writer.add_text(tag, markdown, step)


def _add(writer: Any, values: Sequence[Summary.Value], step: int) -> None:
    writer._get_file_writer().add_summary(Summary(value=values), step)


def write_projector(
    folder: Path, codes: np.ndarray, labels: np.ndarray | None = None, images: np.ndarray | None = None
) -> None:
    """The embedding projector's files, beside the event file.

    Args:
        folder: TensorBoard's folder of the run.
        codes: (N, L).
        labels: (N,), what points are coloured by.
        images: (N, H, W) or (N, H, W, 3), from 0 to 1: what points are drawn as.
    """
    info = EmbeddingInfo(tensor_name="codes", tensor_path="codes.bytes", tensor_shape=codes.shape)
    write_whole(folder / "codes.bytes", np.ascontiguousarray(codes, dtype="<f4").tobytes())
    if labels is not None:
        info.metadata_path = "labels.tsv"
        # A line a point: a label must not hold what ends one.
        lines = "".join(" ".join(str(label).split()) + "\n" for label in labels)
        write_whole(folder / "labels.tsv", lines.encode())
    if images is not None and math.ceil(math.sqrt(len(images))) * max(images.shape[1:3]) <= MAX_SPRITE:
        info.sprite.image_path = "sprite.png"
        info.sprite.single_image_dim.extend((images.shape[2], images.shape[1]))
        write_whole(folder / "sprite.png", _sprite(images))
    # Last: it is what names the others.
    write_whole(folder / "projector_config.pbtxt", str(ProjectorConfig(embeddings=[info])).encode())


def _sprite(images: np.ndarray) -> bytes:
    """All images in one, in rows of as many as there are rows: how the projector looks for them."""
    from PIL import Image

    side = math.ceil(math.sqrt(len(images)))
    padded = np.zeros((side * side, *images.shape[1:]))
    padded[: len(images)] = images
    height, width, rest = images.shape[1], images.shape[2], images.shape[3:]
    whole = padded.reshape(side, side, height, width, *rest).swapaxes(1, 2).reshape(side * height, side * width, *rest)
    file = io.BytesIO()
    Image.fromarray((255 * whole).round().astype(np.uint8)).save(file, format="png", compress_level=3)
    return file.getvalue()
