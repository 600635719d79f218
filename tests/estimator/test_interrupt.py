"""An interrupt ends a fit and keeps what was learned."""

import os
import pickle
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV

from vae_lightning import VAEEstimator
from vae_lightning.runs import fitting
from vae_lightning.training.module import VAEModule

pytestmark = pytest.mark.usefixtures("one_thread")
TINY: dict[str, Any] = {"latent_dim": 2, "hidden_dims": (8,), "max_epochs": 9, "patience": 9, "random_state": 0}


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    draws = np.random.default_rng(0)
    return np.asarray(draws.normal(size=(200, 2)) @ draws.normal(size=(2, 5)) + 0.3 * draws.normal(size=(200, 5)))


@pytest.fixture(autouse=True)
def _long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_interrupted_at", float("-inf"))


@pytest.fixture
def interrupt_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """``interrupt_before(epoch)``: a real Ctrl-C before this epoch of every fit, counted from 0."""
    handler = signal.getsignal(signal.SIGINT)
    begin = VAEModule.on_train_epoch_start

    def set_up(epoch: int) -> None:
        def begin_or_interrupt(module: VAEModule) -> None:
            if module.current_epoch == epoch:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)  # the signal is here before that
            begin(module)

        monkeypatch.setattr(VAEModule, "on_train_epoch_start", begin_or_interrupt)

    yield set_up
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_best_weights_so_far_are_the_model(rows: np.ndarray, interrupt_before: Callable[[int], None]) -> None:
    interrupt_before(3)
    with pytest.warns(ConvergenceWarning, match="^Interrupted after 3 epochs. The best weights so far are kept"):
        vae = VAEEstimator(**TINY).fit(rows)
    assert vae.n_iter_ == 3
    assert {len(values) for values in vae.history_.values()} == {3}
    assert vae.best_nelbo_ <= min(vae.history_["val/nelbo"])
    assert vae.warnings_[-1].startswith("Interrupted after 3 epochs")
    assert vae.model_.threshold(0.99) > vae.model_.threshold(0.5)
    # What the next epochs would have been is nobody's business: the same epochs give the same weights.
    assert np.isfinite(vae.score_samples(rows)).all()
    assert len(vae.plot().axes) == 3
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(vae)).transform(rows), vae.transform(rows))


def test_they_are_those_of_the_unbroken_fit_until_then(
    rows: np.ndarray, interrupt_before: Callable[[int], None]
) -> None:
    whole = VAEEstimator(**TINY).fit(rows)
    interrupt_before(4)
    with pytest.warns(ConvergenceWarning):
        torn = VAEEstimator(**TINY).fit(rows)
    assert {name: values[:4] for name, values in whole.history_.items()} == torn.history_


def test_before_anything_is_learned_an_interrupt_is_one(
    rows: np.ndarray, interrupt_before: Callable[[int], None]
) -> None:
    interrupt_before(0)
    vae = VAEEstimator(**TINY)
    with pytest.raises(KeyboardInterrupt):
        vae.fit(rows)
    with pytest.raises(NotFittedError):
        vae.transform(rows)


def test_the_second_of_two_at_once_ends_a_search(rows: np.ndarray, interrupt_before: Callable[[int], None]) -> None:
    interrupt_before(1)
    search = GridSearchCV(VAEEstimator(**TINY), {"latent_dim": [1, 2, 3]}, cv=2)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(KeyboardInterrupt):
            search.fit(rows)
    assert len([one for one in seen if one.category is ConvergenceWarning]) == 1


def test_two_that_are_far_apart_keep_both_fits(
    rows: np.ndarray, interrupt_before: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "AT_ONCE_SECONDS", 0.0)
    interrupt_before(1)
    for _ in range(2):
        with pytest.warns(ConvergenceWarning):
            assert VAEEstimator(**TINY).fit(rows).n_iter_ == 1
