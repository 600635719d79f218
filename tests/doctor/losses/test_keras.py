"""Losses written in Keras 3, on JAX unless KERAS_BACKEND says otherwise: values, seeds and gradients."""

import numpy as np
import pytest

from vae_lightning.doctor import diagnose
from vae_lightning.doctor.losses.blackbox.box import BlackBox
from vae_lightning.doctor.losses.cases.question import FAULTS, write_version
from vae_lightning.doctor.losses.discover import _judge_two

keras = pytest.importorskip("keras", reason="Keras is not installed (the extra 'keras')")
ops = keras.ops
CORRECT = write_version("corrected", "keras")


def draws(count: int):
    def sample(m, s):
        return m + ops.exp(ops.convert_to_tensor(s) / 2) * keras.random.normal((count, *np.shape(m)))

    return sample


def cut(name: str, which: int):
    """A function of the corrected version whose argument number `which` passes no gradient."""

    def function(*arguments):
        tensors = [ops.convert_to_tensor(argument) for argument in arguments]
        tensors[which] = ops.stop_gradient(tensors[which])
        return CORRECT[name](*tensors)

    return {**CORRECT, name: function}


def test_the_question_is_answered_exactly() -> None:
    found = {version: set(diagnose(**write_version(version, "keras")).codes) for version in FAULTS}
    assert found == {version: set(codes) for version, codes in FAULTS.items()}


def test_every_gradient_is_examined_and_the_seed_governs_the_draws() -> None:
    report = diagnose(**CORRECT)
    assert {(finding.code, finding.about) for finding in report if finding.code in ("NO-GRAD", "KL-DEAD")} == {
        ("NO-GRAD", "sample"),
        ("KL-DEAD", "kl"),
        ("NO-GRAD", "reconstruction"),
    }
    assert "UNSEEDED" not in {finding.code for finding in report}
    assert diagnose(kl=CORRECT["kl"], sample=draws(3)).ok


@pytest.mark.parametrize(
    ("name", "which", "code"),
    [("kl", 0, "KL-DEAD"), ("kl", 1, "KL-DEAD"), ("sample", 1, "NO-GRAD"), ("reconstruction", 1, "NO-GRAD")],
)
def test_cut_gradient_is_found(name: str, which: int, code: str) -> None:
    assert diagnose(**cut(name, which)).codes == (code,)


class Model(keras.Model):
    """A VAE of dense layers whose loss is its own."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.heads, self.out = keras.layers.Dense(6), keras.layers.Dense(9)

    def call(self, x):
        m, s = ops.split(self.heads(x), 2, axis=-1)
        self.kl = 0.5 * ops.mean(ops.sum(ops.square(m) + ops.exp(s) - 1 - s, axis=-1))
        return self.out(m + ops.exp(s / 2) * keras.random.normal(tuple(m.shape)))

    def compute_loss(self, x=None, y_pred=None, **_others):
        return ops.mean(ops.sum(ops.square(x - y_pred), axis=-1)) + self.weight * self.kl


@pytest.mark.parametrize(("weight", "codes"), [(1.0, ()), (-1.0, ("SIGN-FLIP",))])
def test_model_is_taken_apart_at_its_layers(weight: float, codes: tuple[str, ...]) -> None:
    """A Keras model was said to have no function kl."""
    model = Model(weight)
    report = diagnose(loss=lambda model, x: model.compute_loss(x=x, y_pred=model(x)), model=model)
    assert report.codes == codes
    assert report.measured["sampler: σ(s)"] == "exp(s/2)"


class Sampling(keras.layers.Layer):
    """The draw of Keras's own example, with noise from a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        m, s = inputs
        return m + ops.exp(s / 2) * keras.random.normal(tuple(m.shape), seed=self.generator)


class TrainStep(keras.Model):
    """Keras's own example: the loss stands in the training step, which trains and returns running means."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.mean, self.second, self.out = keras.layers.Dense(3), keras.layers.Dense(3), keras.layers.Dense(9)
        self.draw = Sampling()
        self.total = keras.metrics.Mean(name="loss")

    def train_step(self, x):
        m, s = self.mean(x), self.second(x)
        reconstruction = ops.mean(ops.sum(ops.square(x - self.out(self.draw([m, s]))), axis=-1))
        kl = -0.5 * (1 + s - ops.square(m) - ops.exp(s))
        loss = reconstruction + self.weight * ops.mean(ops.sum(kl, axis=1))
        self.optimizer.apply([None], self.trainable_weights)  # what a tape or backward() would hand over
        self.total.update_state(loss)
        return {"loss": self.total.result()}


@pytest.mark.parametrize(("weight", "codes"), [(1.0, ()), (0.1, ("SCALE",)), (-1.0, ("SIGN-FLIP",))])
def test_training_step_is_taken_apart_without_training(weight: float, codes: tuple[str, ...]) -> None:
    """A Keras model's own train_step was examined as if its sampling layer were a reconstruction; a weight was missed.

    In single precision its squared error was no squared error, so that any weight passed as a scale of the noise.
    """
    model = TrainStep(weight)
    report = diagnose(loss=lambda model, x: model.train_step(x), model=model)
    assert report.codes == codes
    assert report.measured["sampler: σ(s)"] == "exp(s/2)"
    assert model.optimizer is None


class Chain(TrainStep):
    """Keras's convolutional example in small: encoder and decoder are models of their own, with fixed widths."""

    def __init__(self, weight: float) -> None:
        super().__init__(weight)
        inputs, codes = keras.Input(shape=(28, 28, 1)), keras.Input(shape=(2,))
        hidden = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, strides=4, activation="relu")(inputs))
        heads = keras.layers.Dense(2)(hidden), keras.layers.Dense(2)(hidden)
        self.encoder = keras.Model(inputs, [*heads, self.draw(heads)])
        grown = keras.layers.Reshape((14, 14, 2))(keras.layers.Dense(392, activation="relu")(codes))
        self.decoder = keras.Model(codes, keras.layers.Conv2DTranspose(1, 3, strides=2, padding="same")(grown))

    def train_step(self, x):
        m, s, z = self.encoder(x)
        reconstruction = ops.mean(ops.sum(ops.square(x - self.decoder(z)), axis=(1, 2, 3)))
        kl = ops.mean(ops.sum(-0.5 * (1 + s - ops.square(m) - ops.exp(s)), axis=1))
        self.total.update_state(reconstruction + self.weight * kl)
        return {"loss": self.total.result()}


@pytest.mark.parametrize(("weight", "codes"), [(1.0, ()), (0.1, ("SCALE",))])
def test_model_of_fixed_widths_is_taken_apart(weight: float, codes: tuple[str, ...]) -> None:
    """Keras's convolutional example ended in SLOW: its widths were guessed, and whole pictures decoded for a draw."""
    model = Chain(weight)
    assert diagnose(loss=lambda model, x: model.train_step(x), model=model).codes == codes
    with pytest.raises(ValueError, match="shape"):
        model.decoder(np.zeros((3, 5), dtype="float32"))


def test_layer_with_noise_of_its_own_is_a_draw() -> None:
    layer = Sampling()
    assert _judge_two(BlackBox("", lambda m, s: layer.call((m, s)))) == "sample"


def typical_loss(x, out, m, s):
    """The loss of the Keras examples: cross-entropy averaged by Keras, times the number of columns."""
    entropy = 11 * keras.losses.binary_crossentropy(x, out)
    return ops.mean(entropy - 0.5 * ops.sum(1 + s - ops.square(m) - ops.exp(s), axis=-1))


ORDERS = {
    "as Keras names them": lambda y_true, y_pred, z_mean, z_log_var: typical_loss(y_true, y_pred, z_mean, z_log_var),
    "without names": lambda a, b, c, d: typical_loss(a, b, c, d),
    "the log-variance first": lambda x, x_decoded, z_log_var, z_mean: typical_loss(x, x_decoded, z_mean, z_log_var),
    "the heads first": lambda z_mean, z_log_var, inputs, outputs: typical_loss(inputs, outputs, z_mean, z_log_var),
    "the output first": lambda x_decoded, x, z_mean, z_log_var: typical_loss(x, x_decoded, z_mean, z_log_var),
}


@pytest.mark.parametrize("name", ORDERS)
def test_no_order_of_arguments_is_called_exchanged(name: str) -> None:
    """A whole loss of a Keras file, with its arguments where its author wants them, was said to exchange two."""
    assert "ARG-SWAP" not in diagnose(loss=ORDERS[name], seconds=60).codes
