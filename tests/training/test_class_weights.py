"""`class_weight` multiplies `sample_weight` of any dtype and shape. `validation_split` allows weights to be None."""

import keras
import numpy as np
import pytest
import statsmodels.api as sm

import nllfit
from tests.keras_versions import KITS, by_keras, mainly

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3's variables

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2)).astype("float32")
LABELS = (RNG.random(60) < 1 / (1 + np.exp(-X[:, 0]))).astype("int64")
WEIGHTS = RNG.integers(1, 4, 60)
GIVEN = [
    ("int", WEIGHTS),
    ("bool", WEIGHTS > 1),
    ("int column", WEIGHTS[:, None]),
    ("list", [WEIGHTS.astype("float32")]),
]
CLASS_WEIGHT = {0: 0.5, 1: 1.5}


@pytest.mark.thorough  # covered by the next test, which multiplies the weights of batches
@pytest.mark.parametrize(("kit", "case"), list(zip(KITS * 2, GIVEN, strict=True)), ids=[name for name, _ in GIVEN])
def test_class_weights_multiply_sample_weights(kit, case):
    k, (_, given) = kit.keras, case
    model = k.Sequential([k.layers.Input((2,)), k.layers.Dense(1), kit.heads.Bernoulli(1)])
    model.compile("adam", kit.loss)
    arguments = {"sample_weight": given, "class_weight": CLASS_WEIGHT, "verbose": 0}
    nllfit.fit_lbfgs(model, X, LABELS[:, None], **arguments)
    product = np.ravel(given) * np.where(LABELS == 1, 1.5, 0.5)
    reference = sm.GLM(LABELS, sm.add_constant(X), sm.families.Binomial(), freq_weights=product).fit()
    slopes, intercept = model.get_weights()
    np.testing.assert_allclose([*intercept, *slopes[:, 0]], reference.params, atol=1e-3)
    # The loss is the sum of weighted losses, divided by the number of rows and not by the sum of the weights.
    (loss,) = nllfit.fit(model, X, LABELS[:, None], batch_size=60, compile="graph", **arguments).history["loss"]
    np.testing.assert_allclose(loss, -reference.llf / 60, rtol=1e-4)


@mainly(keras)
def test_class_weights_multiply_the_weights_of_batches_once(kit):
    k = kit.keras
    model = k.Sequential([k.layers.Input((2,)), k.layers.Dense(1), kit.heads.Bernoulli(1)])
    model.compile(k.optimizers.SGD(0.0), kit.loss)
    x, y = X[:16], LABELS[:16, None]
    expected = np.mean(kit.losses(y, model(x)) * np.where(y[:, 0] == 1, 1.5, 0.5))
    # `fit` converts lists in a batch to arrays, and accepts None in place of weights.
    batches = [(x.tolist(), y.tolist()), (x, y, None), (x, y, np.ones(16).tolist())]
    history = nllfit.fit(model, iter(batches), class_weight=CLASS_WEIGHT, compile="graph", verbose=0).history
    assert history["loss"] == [pytest.approx(expected, rel=1e-5)]


@pytest.mark.thorough
@mainly(keras)
def test_a_split_keeps_outputs_without_weights(kit):
    k = kit.keras

    def make():
        k.utils.set_random_seed(0)
        inputs = k.Input((2,))
        model = k.Model(inputs, [k.layers.Dense(1)(inputs), k.layers.Dense(1)(inputs)])
        model.compile(k.optimizers.SGD(0.1), ["mse", "mse"])
        return model

    y, w = [X[:, :1], X[:, 1:]], WEIGHTS.astype("float32")
    arguments = {"epochs": 2, "shuffle": False, "batch_size": 24, "verbose": 0}
    history = nllfit.fit(make(), X, y, sample_weight=[w, None], validation_split=0.2, compile="graph", **arguments)
    arguments |= {
        "sample_weight": [w[:48], np.ones(48)],
        "validation_data": (X[48:], [y[0][48:], y[1][48:]], [w[48:], np.ones(12)]),
    }
    expected = by_keras(make(), X[:48], [y[0][:48], y[1][:48]], **arguments)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(history.history[name], expected[name], rtol=1e-5)
    with pytest.raises(ValueError, match="`y` holds a None: give an array"):
        nllfit.fit(make(), X, [y[0], None], validation_split=0.2, verbose=0)
