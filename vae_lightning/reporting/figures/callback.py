"""Draws figures now and then while a model trains, and once more when it is done."""

import math
import time
from pathlib import Path

import numpy as np
from lightning.pytorch import Callback, Trainer

from vae_lightning.errors import check_parameter
from vae_lightning.files import write_whole
from vae_lightning.reporting.figures.gallery import PlotImage, draw_figures
from vae_lightning.reporting.figures.images import scale_brightness
from vae_lightning.reporting.figures.latent import BINS, STD_BINS
from vae_lightning.reporting.figures.subject import Subject
from vae_lightning.reporting.figures.training import read_history
from vae_lightning.reporting.loggers import boards_of
from vae_lightning.reporting.tensorboard import add_histogram, add_picture, write_projector
from vae_lightning.training.module import MONITOR, VAEModule
from vae_lightning.training.stacked import COMPANY

FIRST_GUESS = 2.0
"""Seconds that a set of figures takes on a slow machine: what is believed before one has been timed."""


class Figures(Callback):
    """Figures as PNG files and in TensorBoard; docs/figures.md says how to read them.

    While training, a set is drawn after every ``every_n_epochs``-th epoch, but only if this set, those before it and
    the final one fit into ``share`` of the time that training has taken so far. The final set is always drawn: by
    :meth:`draw`, once the best weights are back.

    Args:
        dirpath: where the PNG files go.
        every_n_epochs: epochs between two sets; 0 draws the final one only.
        share: largest share of the training time; 1 draws whenever a set is due.

    Raises:
        ConfigError: for a negative number of epochs, or a share outside [0, 1].
    """

    takes_blocks = True

    def __init__(self, dirpath: str | Path, every_n_epochs: int = 10, share: float = 0.05) -> None:
        check_parameter("Figures", "every_n_epochs", every_n_epochs >= 0, "0 or more", every_n_epochs)
        check_parameter("Figures", "share", 0 <= share <= 1, "from 0 to 1", share)
        self.folder = Path(dirpath)
        self.every_n_epochs = every_n_epochs
        self.share = share
        #: Seconds spent on figures so far.
        self.seconds = 0.0
        self._last_set = FIRST_GUESS
        self._started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: VAEModule) -> None:
        epoch = trainer.current_epoch + 1
        due = self.every_n_epochs and epoch % self.every_n_epochs == 0 and epoch != trainer.max_epochs
        if due and trainer.is_global_zero and self._affordable():
            self.draw(trainer, pl_module)

    def _affordable(self) -> bool:
        company = COMPANY.get()
        elapsed = (time.perf_counter() - self._started) / (company.size if company else 1)
        return self.share == 1 or self.seconds + 2 * self._last_set <= self.share * elapsed

    def draw(self, trainer: Trainer, module: VAEModule, final: bool = False, best: float = math.inf) -> list[PlotImage]:
        """Draw every figure that suits the model as it is now, write them, and show them in TensorBoard.

        Args:
            trainer: with the rows.
            module: with the model.
            final: also draw the history in ``metrics.csv`` beside ``dirpath``, and fill the embedding projector.
            best: val/nelbo of the model, where that is known; lower than in any epoch, it is that of the start.
        """
        started = time.perf_counter()
        training = module.model.training
        module.model.eval()
        try:
            subject = self._subject(trainer, module, final, best)
            figures = list(draw_figures(subject))
            self._write(trainer, subject, figures, final)
        finally:
            module.model.train(training)
            self._last_set = time.perf_counter() - started
            self.seconds += self._last_set
        return figures

    def _subject(self, trainer: Trainer, module: VAEModule, final: bool, best: float) -> Subject:
        history = read_history(self.folder.parent / "metrics.csv") if final else {}
        nelbo = history.get(MONITOR, np.empty(0))
        least = float(nelbo[np.isfinite(nelbo)].min(initial=math.inf))
        data = trainer.datamodule  # type: ignore[attr-defined]
        return Subject.of(
            module.model,
            {name: data.on_device(name, module.device) for name in ("train", "valid")},
            data.valid_labels,
            module.model.record.get("data", {}).get("image_shape"),
            module.seed,
            history,
            start_is_best=best < least - 1e-6 * abs(least),
        )

    def _write(self, trainer: Trainer, subject: Subject, figures: list[PlotImage], final: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for plot, png in figures:
            write_whole(self.folder / f"{plot.name}.png", png)
        for logger in boards_of(trainer):
            writer, step = logger.experiment, trainer.global_step
            for plot, png in figures:
                add_picture(writer, plot.tag, png, step)
            for name, values, bins in (
                ("aggregate_posterior", subject.aggregate_posterior, BINS),
                ("posterior_means", subject.means, BINS),
                ("posterior_standard_deviations", subject.stds, STD_BINS),
                ("prior", subject.prior_draws, BINS),
            ):
                add_histogram(writer, f"codes/{name}", values, bins, step)
            if final:
                images = None if subject.image_shape is None else np.nan_to_num(scale_brightness(subject, subject.rows))
                write_projector(Path(logger.log_dir), subject.means, subject.labels, images)
