"""Histories as people and programs leave them."""

import numpy as np
import pytest

from vae_lightning.doctor.runs.curves import read_curves
from vae_lightning.doctor.runs.history import examine_history
from vae_lightning.errors import DataError


@pytest.mark.parametrize("epoch", ["nan", "inf", "-inf", "1e400", "", "x"])
def test_an_epoch_that_is_no_number_follows_the_one_before(epoch: str) -> None:
    """nan was a ValueError, infinity an OverflowError."""
    examine_history(f"epoch,loss,val_loss\n{epoch},1,0\n1,0,0")
    curves = read_curves(f"epoch,loss\n1,5\n1,7\n{epoch},4\n{epoch},3\n2,2")
    np.testing.assert_array_equal(curves.train, [6, 4, 3, 2])


def test_epochs_of_many_digits_are_told_apart() -> None:
    text = "\n".join(f"epoch {'9' * 5000}{number} loss: {number}" for number in range(3))
    np.testing.assert_array_equal(read_curves(text).train, [0, 1, 2])


@pytest.mark.parametrize(
    "text", ["epoch,loss\n1," + "9" * 200_000 + "\n2,3", "9" * 100_000 + "\n1", "epoch" + " " * 100_000 + "\n1"]
)
def test_long_words_are_refused_at_once(text: str) -> None:
    """A search that tried them in all ways took minutes; the CSV reader's own limit was a traceback."""
    with pytest.raises(DataError, match="must be a CSV of epochs"):
        read_curves(text)
