"""Estimates, likelihoods, probabilities and figures raise errors that name the invalid argument."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import nllfit
from nllfit import plots
from tests.refusals import (
    HAS_MASK,
    MASKED,
    NO_NUMBERS,
    ROWS,
    Y,
    refuses,
)

NO_DISTRIBUTION = TypeError("`distribution` is a (str|ndarray), but .* give the result of `nllfit.predict_distribution")
SAMPLE = [1.0, 2.0, 4.0, 3.0]
NORMAL = tfd.Independent(tfd.Normal(tf.zeros([ROWS, 1]), 1.0), 1)


@functools.cache
def estimate():
    return nllfit.maximum_likelihood("Normal", SAMPLE)


CALLS = {
    "quantile, text": (lambda: nllfit.quantile(NORMAL, "a"), "`q` is 'a': give a probability above 0 and below 1"),
    "quantile, complex": (lambda: nllfit.quantile(NORMAL, 0.5j), "`q` is 0.5j: give a probability"),
    "quantile, 1": (lambda: nllfit.quantile(NORMAL, 1.0), "`q` is 1.0: give a probability"),
    "quantile, NaN": (lambda: nllfit.quantile(NORMAL, np.nan), "`q` is nan: give a probability"),
    "quantile, name": (lambda: nllfit.quantile("Normal", 0.5), NO_DISTRIBUTION),
    "interval, text": (lambda: nllfit.interval(NORMAL, "a"), "`level` is 'a': give a number between 0 and 1"),
    "interval, percent": (lambda: nllfit.interval(NORMAL, 90), "`level` is 90: give a number between 0 and 1"),
    "interval, None": (lambda: nllfit.interval(NORMAL, None), "`level` is None: give a number"),
    "cdf, text": (lambda: nllfit.cdf(NORMAL, "a"), f"`y` is a str, {NO_NUMBERS}"),
    "cdf, complex": (lambda: nllfit.cdf(NORMAL, 1j), f"`y` is a complex, {NO_NUMBERS}"),
    "cdf, masked": (lambda: nllfit.cdf(NORMAL, MASKED), f"`y` {HAS_MASK}"),
    "likelihood, masked": (lambda: nllfit.log_likelihood(NORMAL[0], MASKED), f"`y` {HAS_MASK}"),
    "cdf, shape": (
        lambda: nllfit.cdf(NORMAL, np.ones([5, 7])),
        r"`y` has shape \(5, 7\), but the distribution's outcomes",
    ),
    "survival, None": (lambda: nllfit.survival(NORMAL, None), f"`y` is a NoneType, {NO_NUMBERS}"),
    "cdf, what predict returns": (lambda: nllfit.cdf(Y, 0.5), NO_DISTRIBUTION),
    "survival, name": (lambda: nllfit.survival("Normal", 0.5), NO_DISTRIBUTION),
    "estimate, text": (lambda: nllfit.maximum_likelihood("Normal", ["a"]), f"`y` is of dtype <U1, {NO_NUMBERS}"),
    "estimate, number": (lambda: nllfit.maximum_likelihood("Normal", 1.0), r"`y` has shape \(\): give at least one"),
    "estimate, empty": (lambda: nllfit.maximum_likelihood("Normal", []), r"`y` has shape \(0,\): give at least one"),
    "estimate, set": (lambda: nllfit.maximum_likelihood("Normal", {1.0, 2.0}), f"`y` is {NO_NUMBERS}"),
    "estimate, ragged": (lambda: nllfit.maximum_likelihood("Normal", [[1.0], [1.0, 2.0]]), f"`y` is {NO_NUMBERS}"),
    "estimate, complex": (
        lambda: nllfit.maximum_likelihood("Normal", [1j, 2]),
        f"`y` is of dtype complex128, {NO_NUMBERS}",
    ),
    "estimate, NaN": (lambda: nllfit.maximum_likelihood("Normal", [1.0, np.nan]), "`y` holds 1 NaN or infinite values"),
    "estimate, one": (
        lambda: nllfit.maximum_likelihood("Normal", [1.0]),
        "`y` has 1 numbers, fewer than the 2 parameters",
    ),
    "estimate, event shape": (
        lambda: nllfit.maximum_likelihood("Normal", SAMPLE, event_shape=()),
        r"`event_shape` is that of a row of `y`, \(\): leave it out",
    ),
    "estimate, constant": (lambda: nllfit.maximum_likelihood("Normal", [1.0] * 3), "`y` has all values equal"),
    "estimate, name": (lambda: nllfit.maximum_likelihood("Nrmal", SAMPLE), "`distribution` is 'Nrmal'"),
    "estimate, support": (
        lambda: nllfit.maximum_likelihood("Gamma", [-1.0, 2.0]),
        "`y` holds -1.0, which Gamma cannot",
    ),
    "estimate, weights": (
        lambda: nllfit.maximum_likelihood("Normal", SAMPLE, weights="a"),
        "`weights` is not an array",
    ),
    "estimate, negative": (
        lambda: nllfit.maximum_likelihood("Normal", [1.0, 2.0], weights=[-1, 1]),
        "a negative, NaN or",
    ),
    "estimate, held": (
        lambda: nllfit.maximum_likelihood("Normal", SAMPLE, scale="a"),
        "cannot be built with scale='a'",
    ),
    "estimate, no parameter": (
        lambda: nllfit.maximum_likelihood("Normal", SAMPLE, foo=1),
        "Normal has no parameter `foo`",
    ),
    "estimate, level": (lambda: estimate().confidence_intervals(level="a"), "`level` is 'a': give a probability"),
    "estimate, method": (lambda: estimate().confidence_intervals(method="foo"), "`method` is 'foo': give \"wald\" or"),
    "estimate, profile": (lambda: estimate().profile("foo", [1.0]), "`foo` is not a parameter of this fit"),
    "estimate, values": (lambda: estimate().profile("loc", "a"), "`values` is 'a': give a number"),
    "estimate, index": (lambda: estimate().profile("loc", [1.0], index=3), "`index` is 3, but `loc` has shape"),
    "likelihood, name": (
        lambda: nllfit.likelihood("Normal", SAMPLE),
        TypeError("`distribution` is 'Normal': give a dist"),
    ),
    "likelihood, class": (lambda: nllfit.log_likelihood(tfd.Normal, SAMPLE), TypeError("give a distribution, such as")),
    "likelihood, complex": (
        lambda: nllfit.likelihood(tfd.Normal(0.0, 1.0), [1j]),
        "`y` is of dtype complex128: give numbers",
    ),
    "likelihood, NaN": (
        lambda: nllfit.likelihood(tfd.Normal(0.0, 1.0), [np.nan]),
        "`y` holds 1 NaN: remove the missing",
    ),
    "likelihood, empty": (lambda: nllfit.log_likelihood(tfd.Normal(0.0, 1.0), []), "`y` is empty: give at least one"),
    "likelihood, fraction": (
        lambda: nllfit.likelihood(tfd.Poisson(1.0), [0.5]),
        "`y` holds 0.5, which Poisson cannot have",
    ),
    "likelihood, domain": (lambda: nllfit.likelihood(tfd.Normal(0.0, -1.0), SAMPLE), "`scale` must be positive"),
    "compare, none": (lambda: nllfit.compare(SAMPLE, []), "`distributions` is empty: give at least one family"),
    "compare, int": (lambda: nllfit.compare(SAMPLE, 3), "`distributions` is 3: give a list of families"),
    "compare, text": (lambda: nllfit.compare("a", ["Normal"]), f"`y` is of dtype <U1, {NO_NUMBERS}"),
    "reliability, text": (lambda: plots.reliability_diagram(None, ["a"], [0.5]), f"`y` is a list, {NO_NUMBERS}"),
    "reliability, text probabilities": (
        lambda: plots.reliability_diagram(None, [0], ["a"]),
        f"`probabilities` is a list, {NO_NUMBERS}",
    ),
    "reliability, 2": (lambda: plots.reliability_diagram(None, [0, 2], [0.5, 0.5]), "`y` holds values other than 0"),
    "reliability, label": (
        lambda: plots.reliability_diagram(None, [0, 7], [[0.5, 0.5]] * 2),
        "`y` holds values other than labels 0 to 1",
    ),
    "reliability, sums": (
        lambda: plots.reliability_diagram(None, [0, 1], [[0.9, 0.9]] * 2),
        "rows that do not sum to 1",
    ),
    "reliability, 1.5": (lambda: plots.reliability_diagram(None, [0], [1.5]), "numbers that are not between 0 and 1"),
    "reliability, rows": (lambda: plots.reliability_diagram(None, [0, 1], [0.5]), r"`y` has shape \(2,\) and `prob"),
    "reliability, bins": (lambda: plots.reliability_diagram(None, [0], [0.5], num_bins=0), "`num_bins` is 0"),
    "PIT, bins": (lambda: plots.pit_histogram(None, [0.5], num_bins="a"), "`num_bins` is 'a'"),
    "PIT, text": (lambda: plots.pit_histogram(None, ["a"]), "`pit` is empty or has a number that is not between"),
    "PIT, 2": (lambda: plots.coverage_curve(None, [2.0]), "`pit` is empty or has a number that is not between"),
    "training curves": (lambda: plots.training_curves(None, {}), "`history` has no epochs"),
    "likelihood curve": (
        lambda: plots.likelihood_curve(None, tfd.Normal([0.0, 1.0], 1.0), SAMPLE, [0.0]),
        "`distribution` has batch shape",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_argument_is_named(name):
    call, message = CALLS[name]
    with refuses(message):
        call()
