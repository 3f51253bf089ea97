"""Keras 2 (`tf_keras`) and Keras 3 (`keras`) with nllfit's parts for each, so that one test can run with both."""

import dataclasses
import itertools
import types
from collections.abc import Callable

import keras
import pytest
import tf_keras

import nllfit
from nllfit import keras3


@dataclasses.dataclass(frozen=True)
class Kit:
    """One version of Keras with the parts of nllfit that belong to it.

    Attributes:
      keras: the module `tf_keras` or `keras`.
      heads, metrics: nllfit's modules for this Keras.
      loss: the negative log-likelihood for `compile`.
      losses: the loss of each row, `(y_true, y_pred) -> [B]`.
      distribution: returns the distribution of a head's output.
      imports: the first lines of a program that loads a model. They import this Keras and nllfit, and define the
        function `distribution`.
    """

    keras: types.ModuleType
    heads: types.ModuleType
    metrics: types.ModuleType
    loss: Callable
    losses: Callable
    distribution: Callable
    imports: str


KITS = (
    Kit(
        keras=tf_keras,
        heads=nllfit.heads,
        metrics=nllfit.metrics,
        loss=nllfit.negative_log_likelihood,
        losses=nllfit.negative_log_likelihood,
        distribution=lambda output: output.tensor_distribution,
        imports="import tf_keras as keras, nllfit\ndef distribution(output): return output\n",
    ),
    Kit(
        keras=keras,
        heads=keras3.heads,
        metrics=keras3.metrics,
        loss=keras3.NegativeLogLikelihood(),
        losses=keras3.NegativeLogLikelihood(reduction=None),
        distribution=lambda output: output.distribution,
        imports="import keras; from nllfit import keras3\ndef distribution(output): return output.distribution\n",
    ),
)

KERAS_VERSIONS = pytest.mark.parametrize("k", [tf_keras, keras], ids=["tf_keras", "keras"])
each_keras = pytest.mark.parametrize("kit", KITS, ids=["tf_keras", "keras3"])


def mainly(keras, name="kit"):
    """Runs a test with the version `keras`. With the other version the test is marked `thorough`."""
    kits = {"kit": lambda kit: kit, "k": lambda kit: kit.keras}[name]
    marks = {kit: () if kit.keras is keras else pytest.mark.thorough for kit in KITS}
    rows = [pytest.param(kits(kit), marks=marks[kit], id=kit.keras.__name__) for kit in KITS]
    return pytest.mark.parametrize(name, rows)


def in_turn(values, left_out=()):
    """Returns all pairs of a Keras version and a value, as parameters of a test.

    Every test run includes the pairs that `alternately` returns. The other pairs, and all pairs of a value in
    `left_out`, are marked `thorough`.
    """
    rows = []
    for i, value in enumerate(values):
        for j, kit in enumerate(KITS):
            is_first = (i + j) % 2 == 0 and value not in left_out
            rows.append(_pair(kit, value, () if is_first else pytest.mark.thorough))
    return rows


def alternately(values, left_out=()):
    """Returns each value with one Keras version: the first with tf_keras, the second with Keras 3, and so on.

    The values in `left_out` are marked `thorough`.
    """
    pairs = zip(itertools.cycle(KITS), values, strict=False)
    return [_pair(kit, value, pytest.mark.thorough if value in left_out else ()) for kit, value in pairs]


def _pair(kit, value, marks):
    short = value if isinstance(value, str | float) else getattr(value, "id", getattr(value, "__name__", ""))
    return pytest.param(kit, value, id=f"{kit.keras.__name__}-{short or value[0]}", marks=marks)


def by_keras(model, *args, **kwargs):
    """Returns the history of `model.fit`. The model runs eagerly, because a trace takes longer than a few steps."""
    model.run_eagerly = True
    history = model.fit(*args, **{"verbose": 0} | kwargs).history
    return {name: [float(value) for value in values] for name, values in history.items()}


def set_precision(dtype):
    """Sets the dtype of new layers in Keras 2 and Keras 3."""
    for kit in KITS:
        kit.keras.backend.set_floatx(dtype)
        kit.keras.mixed_precision.set_global_policy(dtype)  # Keras reads `floatx` only for its first policy
