"""`fit` under a mixed-precision policy: 16-bit layers, and heads and losses in float32."""

import numpy as np
import pytest

import nllfit
from tests.head_builders import ONCE, all_heads
from tests.keras_versions import KITS, by_keras, each_keras

ROUNDING = {"mixed_float16": 2**-11, "mixed_bfloat16": 2**-8}  # relative rounding error of one number
X = np.random.default_rng(0).normal(size=[32, 3]).astype("float32")


def outcomes(kit, cases):
    """The weights of a model, and draws from its distributions.

    If rounding moves a draw out of the support, another draw replaces it.
    """
    model, y = all_heads(kit, cases), {}
    for name, output in model(X).items():
        distribution = kit.distribution(output)
        draws = distribution.sample(seed=(1, 2)).numpy()
        possible = np.isfinite(distribution.log_prob(draws).numpy())
        draws[~possible] = draws[possible][0]
        y[name] = draws
    return model.get_weights(), y


def compiled(kit, cases, weights, y):
    model = all_heads(kit, cases)
    model.set_weights(weights)
    model.compile(kit.keras.optimizers.Adam(1e-3), {name: kit.loss for name in y})
    return model


def check(kit, cases, policy):
    """Checks that `fit` under a 16-bit policy gives nearly the same losses as Keras in float32 and in eager mode.

    The loss of each output is compared for each of two epochs.
    """
    weights, y = outcomes(kit, cases)
    arguments = {"epochs": 2, "batch_size": 16, "shuffle": False, "verbose": 0}
    expected = by_keras(compiled(kit, cases, weights, y), X, y, **arguments)
    kit.keras.mixed_precision.set_global_policy(policy)
    try:
        model = compiled(kit, cases, weights, y)
        losses = nllfit.fit(model, X, y, compile="graph", **arguments).history
        assert type(model.optimizer).__name__.startswith("LossScale") == (policy == "mixed_float16")
    finally:
        kit.keras.mixed_precision.set_global_policy("float32")
    for name, values in expected.items():
        np.testing.assert_allclose(losses[name], values, rtol=8 * ROUNDING[policy], atol=8 * ROUNDING[policy])
    for before, after in zip(weights, model.get_weights(), strict=True):
        assert np.isfinite(after).all()
        assert not np.array_equal(before, after)


@pytest.mark.thorough
@pytest.mark.parametrize("part", range(6))
@each_keras
def test_each_head_is_fitted_in_mixed_precision_as_in_float32(kit, part):
    """One Keras version uses float16 and the other bfloat16. So each head is tested with both."""
    check(kit, ONCE[part::6], list(ROUNDING)[(part + KITS.index(kit)) % 2])
