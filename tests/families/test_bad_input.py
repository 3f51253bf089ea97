"""Heads and families raise errors that name the invalid argument."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import nllfit
from tests.keras_versions import each_keras
from tests.refusals import NO_NUMBERS, check_refusal, refuses

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3's variables


def head(name, *arguments, **options):
    return lambda kit: getattr(kit.heads, name)(*arguments, **options)


HEADS = {
    "head, event": (head("Normal", "a"), "`event_shape` is 'a': give an int >= 1"),
    "head, no event": (head("Normal", 0), "`event_shape` is 0: give an int >= 1"),
    "head, a large event": (head("Normal", 10**12), "`event_shape` is 1000000000000: give an int >= 1 and <= 8388608"),
    "head, a large shape": (
        head("Normal", (10**5, 10**5)),
        "`event_shape` is .* has 10000000000 numbers, but at most",
    ),
    "head, a large matrix": (
        head("MultivariateNormalTriL", 10**6),
        "vector of parameters of MultivariateNormalTriL has 500001500000 numbers.* give a smaller `event_shape`",
    ),
    "head, many classes": (head("Categorical", 10**9), "`num_classes` is 1000000000: give an int >= 2 and <= "),
    "head, many one-hot classes": (head("OneHotCategorical", 10**9), "`num_classes` is 1000000000: give an int >= 2"),
    "head, many components": (head("Mixture", "Normal", 10**9), "`num_components` is 1000000000: give an int >= 1 and"),
    "head, a large mixture": (
        head("Mixture", "Normal", 10**4, 10**3),
        "vector of parameters of a Mixture of 10000 Normal has 20010000 numbers, but at most 8388608",
    ),
    "head, many numbers": (
        head("DistributionLambda", lambda params: tfd.Normal(params[..., 0], 1.0), 10**9),
        "`params_size` is 1000000000: give an int >= 1 and <= 8388608",
    ),
    "head, a large family within": (head("Censored", "Normal", 10**8), "`event_shape` is 100000000: give an int >= 1"),
    "head, text": (head("Normal", scale="a"), "Normal cannot be built with scale='a'"),
    "head, negative": (head("Normal", scale=-1.0), "`scale` must be positive"),
    "head, NaN": (head("Normal", scale=np.nan), "`scale` is held at nan: give a finite value"),
    "head, shape": (head("Normal", scale=[1.0, 2.0]), r"outcomes of shape \(2,\), but `event_shape` is \(1,\)"),
    "head, name": (
        head("Normal", scal=1.0),
        "Normal has no parameter `scal`. It has loc, scale, allow_nan_stats, vali",
    ),
    "head, alias": (head("DistributionHead", "Gaussian"), "`distribution` is 'Gaussian'.* Close to it: Normal, "),
    "head, event shape": (head("Normal", {}), "`event_shape` is {}: give an int >= 1"),
    "head, shared list": (head("Normal", shared=[[]]), r"`shared` is \[\[\]\]: give names of parameters"),
    "head, shared of zeros": (
        lambda kit: kit.heads.ZeroInflated("Poisson", shared=[[]]),
        r"`shared` is \[\[\]\]: give names of parameters",
    ),
    "head, shared": (head("Normal", shared=("foo",)), "Normal has no parameter `foo`"),
    "head, all shared": (head("Normal", shared=("loc", "scale")), "Every free parameter of Normal is shared"),
    "head, floor": (head("Normal", floor=1e-3), "`floor` is 0.001: give a dict"),
    "head, floor of": (head("Normal", floor={"loc": 1.0}), "`floor` names `loc`"),
    "head, link": (head("Normal", link={"scale": "foo"}), "`link` gives `scale` 'foo': give one of exp"),
    "head, classes": (head("Categorical", 1), "`num_classes` is 1: give an int >= 2"),
    "head, no family": (
        head("DistributionHead", "Nrmal"),
        "`distribution` is 'Nrmal': give a class .* Close to it: Normal",
    ),
    "head, a distribution": (head("DistributionHead", tfd.Normal(0.0, 1.0)), "`distribution` is <tfp.*: give a class"),
    "head, of one": (head("DistributionHead", "Inflated", 1), "`distribution`: it is a distribution: choose another"),
    "head, of another": (
        head("DistributionHead", "TransformedDistribution", 1),
        "it is a distribution: choose another",
    ),
    "head, held": (head("DistributionHead", "Binomial"), "hold it at a value, `total_count=...`"),
    "head, components": (head("Mixture", "Normal", 0), "`num_components` is 0: give an int >= 1"),
    "head, units": (lambda kit: kit.heads.Normal()(tf.zeros([3, 5])), "`params` is float32 of shape .* takes 2"),
}


FAMILIES = {
    "family, None": (lambda: nllfit.Family(None), "`distribution` is None: give a class"),
    "family, params": (lambda: nllfit.Family("Normal").distribution("a"), f"`params` is a str, {NO_NUMBERS}"),
    "family, size": (lambda: nllfit.Family("Normal").distribution(tf.zeros([3])), "takes 2 floating-point numbers"),
    "family, no shared": (
        lambda: nllfit.Family("Normal", shared="scale").distribution(tf.zeros([3, 1])),
        "`shared` is None: give the 1 numbers of scale",
    ),
    "mixture, shared": (lambda: nllfit.MixtureFamily("Normal", 2, shared="scale"), "share no parameters"),
}


@each_keras
@pytest.mark.parametrize("name", HEADS)
def test_a_wrong_argument_is_named_in_both_keras_versions(kit, name):
    check_refusal(kit, *HEADS[name])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_wrong_argument_is_named(name):
    call, message = FAMILIES[name]
    with refuses(message):
        call()


@pytest.mark.thorough(but=("Censored", "ZeroInflated"))
@pytest.mark.parametrize("wrapped", [nllfit.Censored, nllfit.Truncated, nllfit.ZeroInflated, nllfit.Hurdle])
def test_a_fraction_is_no_count_of_a_family_of_integers(wrapped):
    """The outcomes of TFP's Zipf have dtype int32. A cast to int32 would drop the fraction."""
    window = {"low": 0} if wrapped is nllfit.Truncated else {}
    family = wrapped("Zipf", **window)
    y = [[2.0, 2.0], [2.5, 2.5]] if wrapped is nllfit.Censored else [2.0, 2.5]
    distribution = family.distribution(tf.zeros([2, family.params_size]))
    nllfit.negative_log_likelihood(tf.constant([y[0], y[0]]), distribution)
    with pytest.raises(ValueError, match="It is not an integer that int32 can hold"):
        nllfit.negative_log_likelihood(tf.constant(y), distribution)
