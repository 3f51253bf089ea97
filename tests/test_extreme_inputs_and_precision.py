"""Heads return no NaN for inputs of up to 1e4, and compute in float32 if the inputs have 16 bits."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import nllfit
from nllfit.families.law import law_of
from tests.head_builders import ONCE, make_head, params_size
from tests.head_cases import CASES
from tests.keras_versions import KITS

ROWS = 40
NUMBERS = np.array([-1e4, -1e3, -100, -30, -3, 0, 3, 30, 100, 1e3, 1e4])
# The largest absolute value of inputs that are logarithms of parameters, because exp(89) overflows in float32.
LARGEST = 80.0
WAYS = {
    "eager": lambda function: function,
    "xla": functools.partial(tf.function, autograph=False, jit_compile=True),
}
CASES_IN_WAYS = [
    pytest.param(case, "eager", id=f"eager-{case.id}", marks=pytest.mark.thorough if case.name == "Truncated" else ())
    for case in CASES
] + [pytest.param(case, "xla", id=f"xla-{case.id}", marks=pytest.mark.thorough) for case in ONCE]


def computed(family, y, way="eager", predicts=False):
    """A function of rows of inputs: the log-likelihood of the outcomes, its gradient, and the prediction."""

    def everything(u):
        shared = tf.zeros([family.shared_size], u.dtype) if family.shared_size else None
        with tf.GradientTape() as tape:
            tape.watch(u)
            distribution = family.distribution(u, shared)
            log_prob = distribution.log_prob(y if y.dtype.kind == "i" else tf.cast(y, u.dtype))
        return log_prob, tape.gradient(log_prob, u), law_of(distribution).central_value() if predicts else tf.zeros([])

    compiled = WAYS[way](everything)
    return lambda u: [np.asarray(value) for value in compiled(tf.constant(u))]


def rows_of(case):
    """Rows of extreme inputs, the same rows with clipped inputs, and an outcome for each row.

    Inputs that are logarithms of parameters are clipped to `[-LARGEST, LARGEST]`, and so are all inputs of a head
    that is given a `link`.
    """
    u = np.random.default_rng(0).choice(NUMBERS, size=[ROWS, params_size(case)])
    logarithms = make_head(KITS[0], case).family.logarithms | ("link" in case.kwargs)
    held = np.where(logarithms, np.clip(u, -LARGEST, LARGEST), u)
    return u, held, np.resize(case.outcomes, [ROWS, *case.outcomes.shape[1:]])


# XLA takes seconds to compile most heads, so it compiles each of them once, in float32. `exact` is computed in float64,
# in eager mode.
@pytest.mark.parametrize(("case", "way"), CASES_IN_WAYS)
def test_finite_inputs_never_give_nan(case, way):
    extreme, held, y = rows_of(case)
    family = make_head(KITS[0], case, validate_args=False).family
    # These three heads may have no mean, and then search for the median. In eager mode, the search takes seconds, so
    # there we compute no predictions of these heads. XLA takes 15 seconds to compile the search of Truncated, so we
    # leave it out. `test_a_truncated_prediction_is_finite_if_the_rate_is_extreme` runs this search in eager mode.
    searched = ("Hurdle", "Truncated", "ZeroInflated") if way == "eager" else ("Truncated",)
    predicts = case.prediction and case.name not in searched
    compute = computed(family, y, way, predicts)
    exact = computed(family, y)(held)
    for dtype in ("float64", "float32") if way == "eager" else ("float32",):
        assert not np.isnan(compute(extreme.astype(dtype))[0]).any()
        log_prob, gradient, prediction = compute(held.astype(dtype))
        assert not np.isnan(log_prob).any()
        assert not np.isnan(prediction).any()
        fits = np.abs(exact[0]) < 1e34  # about exp(80), which float32 can represent
        assert np.isfinite(log_prob[fits]).all()
        assert not np.isnan(gradient[fits]).any()
        assert np.isfinite(gradient[fits][np.abs(exact[1][fits]) < 1e34]).all()
    if way == "xla":
        ordinary = np.random.default_rng(1).normal(size=held.shape).astype("float32")
        for found, expected in zip(compute(ordinary)[:2], computed(family, y)(ordinary)[:2], strict=True):
            # A tolerance for float32: XLA has another `lgamma`, and rounding errors are relative to the largest value.
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
            assert np.abs(expected).max() > 0


def in_16_bits():
    """Yields all pairs of a case and a mixed policy.

    One pair of each case is in every run, except for `Truncated`: its pairs are all marked `thorough`.
    """
    for i, case in enumerate(CASES):
        for j, policy in enumerate(("mixed_bfloat16", "mixed_float16")):
            marks = () if (i + j) % 2 == 0 and case.name != "Truncated" else pytest.mark.thorough
            yield pytest.param(case, policy, id=f"{policy}-{case.id}", marks=marks)


@pytest.mark.parametrize(("case", "policy"), list(in_16_bits()))
def test_a_head_computes_in_float32_for_16_bit_inputs(case, policy):
    _, u, y = rows_of(case)
    u = tf.cast(np.clip(u, -10, 10), policy.removeprefix("mixed_"))
    results = []
    for dtype, numbers in ((policy, u), ("float32", tf.cast(u, tf.float32))):
        head = make_head(KITS[0], case, dtype=dtype, validate_args=False)
        with tf.GradientTape() as tape:
            tape.watch(numbers)
            losses = nllfit.negative_log_likelihood(y, head(numbers))
        assert losses.dtype == tf.float32
        results.append([losses, tf.cast(tape.gradient(losses, numbers), u.dtype)])
    # On a busy machine, a few in 1000 calls of `tfp.math.lbeta` in float32 differ by a rounding error of about 1e-6.
    # This may change the last bit of a gradient in 16 bits.
    (losses, gradient), (expected, slopes) = results
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-5)
    last_bit = {"float16": 2**-10, "bfloat16": 2**-7}[u.dtype.name]
    np.testing.assert_allclose(tf.cast(gradient, tf.float32), tf.cast(slopes, tf.float32), rtol=last_bit)
    assert np.isfinite(losses).all()


MADE_OF_COUNTS = {
    "ZeroInflated": (nllfit.ZeroInflated("Poisson"), [0.0, 3.0]),
    "Hurdle": (nllfit.Hurdle("Poisson"), [0.0, 3.0]),
    "Truncated": (nllfit.Truncated("Poisson", low=0), [1.0, 3.0]),
    "Censored": (nllfit.Censored("Poisson"), [[1.0, 1.0], [1.0, np.inf], [1.0, 2.0]]),
}


# Only the case (ZeroInflated, float32) is in every run: the first decorator marks all other families, and `parametrize`
# marks (ZeroInflated, float64).
@pytest.mark.thorough(but="ZeroInflated")
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(name, dtype, marks=pytest.mark.thorough if (i + j) % 2 else ())
        for i, name in enumerate(MADE_OF_COUNTS)
        for j, dtype in enumerate(("float32", "float64"))
    ],
)
def test_a_rate_that_overflows_or_underflows_has_a_finite_gradient(name, dtype):
    family, outcomes = MADE_OF_COUNTS[name]
    grid = np.stack(np.meshgrid(*[[-1e4, -90, 0, 90, 1e4]] * family.params_size), -1).reshape(-1, family.params_size)
    u, y = np.tile(grid, [len(outcomes), 1]).astype(dtype), np.repeat(outcomes, len(grid), 0)  # all pairs
    log_prob, gradient, _ = computed(family, y)(u)
    assert not np.isnan(log_prob).any()
    assert not np.isnan(gradient).any()
    assert np.isfinite(gradient[np.isfinite(log_prob)]).all()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("dtype", "log_rates"), [("float32", [-80.0, -30.0, 0.0, 30.0, 80.0]), ("float64", [300.0, 1e4])]
)
def test_a_truncated_prediction_is_finite_if_the_rate_is_extreme(dtype, log_rates):
    distribution = nllfit.Truncated("Poisson", low=0).distribution(tf.constant(log_rates, dtype)[:, None])
    assert not np.isnan(law_of(distribution).central_value()).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_scale_with_link_exp_is_neither_0_nor_infinite(dtype):
    family = nllfit.Family("Normal", link={"scale": "exp"})
    u = np.array([[0.0, -1e4], [0.0, 1e4], [1.0, -1e4]], dtype)
    log_prob, gradient, _ = computed(family, np.array([0.0, 0.0, 0.0]))(u)
    assert np.isfinite(log_prob[:2]).all()
    assert log_prob[2] == -np.inf
    assert not np.isnan(gradient).any()
