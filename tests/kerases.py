"""The two Kerases, so that one test runs in models of both."""

import dataclasses
import types
from collections.abc import Callable

import keras
import pytest
import tf_keras

import nllfit
from nllfit import keras3


@dataclasses.dataclass(frozen=True)
class Kit:
    """What a user of one Keras builds a model from.

    Attributes:
      keras: the module.
      heads, metrics: the modules of `nllfit` for it.
      loss: what `compile` takes.
      losses: of each outcome, `(y_true, y_pred) -> [B]`.
      distribution: of a head's output.
      imports: how a program that loads a model begins; it defines `distribution`, too.
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

KERASES = pytest.mark.parametrize("k", [tf_keras, keras], ids=["tf_keras", "keras"])
each_keras = pytest.mark.parametrize("kit", KITS, ids=["tf_keras", "keras3"])


def mainly(keras, name="kit"):
    """A test in that Keras, and in the other under `--thorough`: what it tests does not depend on which."""
    kits = {"kit": lambda kit: kit, "k": lambda kit: kit.keras}[name]
    marks = {kit: () if kit.keras is keras else pytest.mark.thorough for kit in KITS}
    rows = [pytest.param(kits(kit), marks=marks[kit], id=kit.keras.__name__) for kit in KITS]
    return pytest.mark.parametrize(name, rows)


def in_turn(values, left_out=()):
    """Each value with one Keras, the first with tf_keras, the next with Keras 3; with the other under `--thorough`.

    Those `left_out` are with both under `--thorough` alone.
    """
    rows = []
    for i, value in enumerate(values):
        for j, kit in enumerate(KITS):
            short = value if isinstance(value, str | float) else getattr(value, "id", None) or value[0]
            marks = () if (i + j) % 2 == 0 and value not in left_out else pytest.mark.thorough
            rows.append(pytest.param(kit, value, id=f"{kit.keras.__name__}-{short}", marks=marks))
    return rows


def by_keras(model, *args, **kwargs):
    """The history of `model.fit`, run eagerly: a reference of a few steps is not worth its trace."""
    model.run_eagerly = True
    history = model.fit(*args, **{"verbose": 0} | kwargs).history
    return {name: [float(value) for value in values] for name, values in history.items()}


def set_precision(dtype):
    """Sets the dtype of new layers in both Kerases."""
    for kit in KITS:
        kit.keras.backend.set_floatx(dtype)
        kit.keras.mixed_precision.set_global_policy(dtype)  # which is taken from `floatx` once only
