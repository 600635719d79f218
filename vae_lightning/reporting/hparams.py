"""TensorBoard's HParams tab: what a run was given, and what came of it."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import summary_v2 as hparams  # the package's api imports TensorFlow
from tensorboard.summary.writer.event_file_writer import EventFileWriter

if TYPE_CHECKING:  # a sweep's report needs none of Lightning, whose import takes longer than the report
    from lightning.pytorch.loggers import TensorBoardLogger

BEST = "val/best_nelbo"
"""The scalar of the best epoch: the series val/nelbo itself ends with the last one."""
METRICS = {"test/nelbo": "test/nelbo", "test/nll": "test/nll", BEST: "val/nelbo"}
"""Scalars that the tab shows, and the names it shows them by."""
UNITS = "nats per row, data units"
SUFFIX = ".hparams"


def log_hparams(logger: "TensorBoardLogger", settings: Mapping[str, Any], best: float, step: int) -> None:
    """Write a finished run's settings and its best val/nelbo.

    No list of columns is written here: TensorBoard takes that of one run for all, and then leaves out what the other
    runs were given. :func:`write_columns` writes one for a whole sweep; without it every setting is a column.
    """
    logger.log_metrics({BEST: best}, step=step)
    plain = {name: _plain(value) for name, value in settings.items()}
    # With a name of its own, SWEEP/JOB or DATE/TIME: TensorBoard would show runs of equal settings as one.
    name = "/".join(Path(logger.log_dir).absolute().parts[-3:-1])
    logger.experiment._get_file_writer().add_summary(hparams.hparams_pb(plain, trial_id=name))


def write_columns(folder: Path, varied: Mapping[str, Sequence[Any]]) -> None:
    """Say which columns the tab shows for the runs below ``folder``: the varied settings, and the final metrics.

    Args:
        folder: above the runs' own folders; TensorBoard is pointed at it.
        varied: the settings that differ between runs, with their values.
    """
    columns = [hparams.HParam(name, _domain(values)) for name, values in varied.items()]
    metrics = [hparams.Metric(tag, display_name=shown, description=UNITS) for tag, shown in METRICS.items()]
    before = list(folder.glob(f"events.out.tfevents.*{SUFFIX}"))
    now = time.time()
    writer = EventFileWriter(str(folder), filename_suffix=SUFFIX)
    writer.add_event(Event(wall_time=now, summary=hparams.hparams_config_pb(columns, metrics, time_created_secs=now)))
    writer.close()
    for path in before:  # only now, so that there is always one
        path.unlink()


def _domain(values: Sequence[Any]) -> hparams.Domain:
    plain = {_plain(value) for value in values}
    if plain and all(isinstance(value, int | float) and not isinstance(value, bool) for value in plain):
        return hparams.RealInterval(float(min(plain)), float(max(plain)))
    return hparams.Discrete(sorted(map(str, plain)), dtype=str)


def _plain(value: Any) -> bool | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)
