"""`fit` under a mixed-precision policy: 16-bit layers, and heads and losses in float32."""

import numpy as np
import pytest

import nllfit
from tests.heads import ONCE, all_heads
from tests.keras_versions import KITS, each_keras

ROUNDING = {"mixed_float16": 2**-11, "mixed_bfloat16": 2**-8}  # of one number
X = np.random.default_rng(0).normal(size=[32, 3]).astype("float32")


def outcomes(kit, cases):
    """The weights of a model, and draws from its distributions, without draws that are rounded out of the support."""
    model, y = all_heads(kit, cases), {}
    for name, output in model(X).items():
        distribution = kit.distribution(output)
        draws = distribution.sample(seed=(1, 2)).numpy()
        possible = np.isfinite(distribution.log_prob(draws).numpy())
        draws[~possible] = draws[possible][0]
        y[name] = draws
    return model.get_weights(), y


def fitted(kit, cases, policy, weights, y):
    """The losses of three epochs, by output, and the weights after the last epoch."""
    kit.keras.mixed_precision.set_global_policy(policy)
    try:
        model = all_heads(kit, cases)
        model.set_weights(weights)
        model.compile(kit.keras.optimizers.Adam(1e-3), {name: kit.loss for name in y})
        history = nllfit.fit(model, X, y, epochs=3, batch_size=16, compile="graph", verbose=0, seed=0).history
        assert type(model.optimizer).__name__.startswith("LossScale") == (policy == "mixed_float16")
    finally:
        kit.keras.mixed_precision.set_global_policy("float32")
    return history, model.get_weights()


def check(kit, cases, *policies):
    weights, y = outcomes(kit, cases)
    expected, _ = fitted(kit, cases, "float32", weights, y)
    for policy in policies:
        losses, ends = fitted(kit, cases, policy, weights, y)
        for name, values in expected.items():
            np.testing.assert_allclose(losses[name], values, rtol=8 * ROUNDING[policy], atol=8 * ROUNDING[policy])
        for before, after in zip(weights, ends, strict=True):
            assert np.isfinite(after).all()
            assert not np.array_equal(before, after)


@pytest.mark.thorough
def test_a_model_is_fitted_in_mixed_precision_as_in_float32():
    check(KITS[1], [case for case in ONCE if case.id in ("Normal", "Poisson")], "mixed_float16")


@pytest.mark.thorough
@pytest.mark.parametrize("part", range(6))
@each_keras
def test_each_head_is_fitted_in_mixed_precision_as_in_float32(kit, part):
    check(kit, ONCE[part::6], *ROUNDING)
