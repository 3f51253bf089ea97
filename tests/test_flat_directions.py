"""A direction along which a loss is constant is treated as flat, although rounding errors give it a curvature."""

import keras
import numpy as np
from sklearn.datasets import load_digits

import nllfit
from nllfit import keras3
from nllfit.optimum.curvature import axes_of, points_nearby

EPS = np.finfo(float).eps


def test_rounding_errors_do_not_make_a_flat_direction_curved():
    """`axes_of` compares the curvature at a point with the curvature at three nearby points.

    With only one nearby point, the two curvatures would be nearly equal by chance for 5% of these Hessians. The flat
    direction would then count as curved.
    """
    num_flat = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        rotation = np.linalg.qr(rng.normal(size=[8, 8]))[0]
        hessian = rotation * [0.0, 1, 1, 2, 2, 3, 3, 4] @ rotation.T

        def curvature(_, directions, hessian=hessian, rng=rng):
            product = hessian @ directions
            return product + EPS * rng.normal(size=product.shape) * np.abs(directions).max(0)

        w = rng.normal(size=8)
        num_flat += axes_of(curvature, w, points_nearby(w, EPS), EPS).flat.sum()
    assert 397 <= num_flat <= 400


def test_a_softmax_is_not_moved_along_the_sum_of_its_biases():
    """A number added to all biases changes no probability.

    If `fit_lbfgs` added a large number, the loss would have fewer correct digits.
    """
    data = load_digits()
    x, y = data.data[:200, 18:30] / 16, data.target[:200]
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(10, kernel_regularizer=keras.regularizers.L2(1e-2))
    model = keras.Sequential([keras.layers.Input((12,)), dense, keras3.heads.Categorical(10)])
    model.compile("sgd", keras3.NegativeLogLikelihood())
    history = nllfit.fit_lbfgs(model, x, y)
    assert history.converged, history.message
    assert np.abs(model.get_weights()[1]).max() < 10
