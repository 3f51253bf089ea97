"""`fit_lbfgs` minimises the loss that `evaluate` returns, also for models with unusual layers."""

import numpy as np
import pytest

import nllfit
from tests.keras_versions import each_keras

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(50, 2)) * [3.0, 0.5] + [10.0, -4.0]).astype("float32")
Y = (X @ [[1.0], [-2.0]] + 3.0 + RNG.normal(size=(50, 1))).astype("float32")
DESIGN = np.column_stack([X, np.ones(50)]).astype("float64")
LEAST_SQUARES = np.mean((Y - DESIGN @ np.linalg.lstsq(DESIGN, Y, rcond=None)[0]) ** 2)


def solved(model, x, y):
    """Returns the loss that `fit_lbfgs` reports. It must have converged, and `evaluate` must agree."""
    history = nllfit.fit_lbfgs(model, x, y, verbose=0)
    assert history.converged, history.message
    loss = history.history["loss"][-1]
    model.run_eagerly = True  # otherwise Keras traces `evaluate`
    assert loss == pytest.approx(model.evaluate(x, y, batch_size=len(y), verbose=0), rel=1e-5)  # float32
    return loss


@each_keras
def test_a_frozen_head_keeps_its_scale(kit):
    head = kit.heads.Normal(shared="scale")
    model = kit.keras.Sequential([kit.keras.layers.Input((2,)), kit.keras.layers.Dense(1), head])
    before = head.get_weights()
    head.trainable = False
    model.compile("sgd", kit.loss)
    loss = solved(model, X, Y)
    np.testing.assert_array_equal(head.get_weights(), before)
    scale = kit.distribution(model(X[:1])).stddev().numpy().item()
    assert loss == pytest.approx(LEAST_SQUARES / (2 * scale**2) + np.log(scale) + np.log(2 * np.pi) / 2, rel=1e-6)
