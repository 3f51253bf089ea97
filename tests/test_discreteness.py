"""Whether a distribution is discrete or continuous, for mixtures and users' classes, about which TFP says nothing."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, stats
from tensorflow_probability import util as tfpu

import nllfit
from nllfit import heads
from nllfit.families.discreteness import is_discrete

tfd = tfp.distributions

LEVELS = np.array([0.1, 0.3, 0.7, 0.9])


class Rayleigh(tfd.Distribution):
    """A user's continuous distribution. It has a CDF, but no event space bijector that would show its support."""

    def __init__(self, scale, validate_args=False, allow_nan_stats=True, name="Rayleigh"):
        parameters = dict(locals())
        self.scale = tf.convert_to_tensor(scale)
        kind = tfd.FULLY_REPARAMETERIZED
        super().__init__(self.scale.dtype, kind, validate_args, allow_nan_stats, parameters, name=name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"scale": tfpu.ParameterProperties()}

    def _event_shape(self):
        return tf.TensorShape([])

    def _event_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _log_prob(self, y):
        return tf.math.log(y) - 2 * tf.math.log(self.scale) - tf.square(y / self.scale) / 2

    def _mean(self):
        return self.scale * np.sqrt(np.pi / 2)

    def _cdf(self, y):  # wrong for y below 0, which is outside the support
        return -tf.math.expm1(-tf.square(y / self.scale) / 2)


def mixture(params):
    loc = params[..., 0]
    parts = [tfd.Normal(loc, tf.ones_like(loc)), tfd.Laplace(loc, tf.ones_like(loc))]
    return tfd.Mixture(tfd.Categorical(logits=tf.zeros([*params.shape[:-1], 2], params.dtype)), parts)


def of_mixture(y):
    return (stats.norm.cdf(y) + stats.laplace.cdf(y)) / 2


def rayleigh(params):
    return Rayleigh(tf.exp(params[..., 0]))


def of_unlike_supports(params):  # TFP's CDF of a Gamma is NaN below 0
    rate = tf.exp(params[..., :1])
    parts = [tfd.Independent(tfd.Normal(0 * rate, rate), 1), tfd.Independent(tfd.Gamma(2 * rate, rate), 1)]
    return tfd.Mixture(tfd.Categorical(logits=tf.zeros([*params.shape[:-1], 2], params.dtype)), parts)


def of_normal_and_gamma(y):
    return (stats.norm.cdf(y) + stats.gamma(2).cdf(y)) / 2


OWN = {
    "vectors": (of_unlike_supports, of_normal_and_gamma, -np.inf),
    "mixture": (mixture, of_mixture, -np.inf),
    "Rayleigh": (rayleigh, stats.rayleigh.cdf, 0.0),
}


@pytest.mark.thorough(but="Rayleigh")
@pytest.mark.parametrize(("name", "dtype"), [("mixture", "float32"), ("vectors", "float64"), ("Rayleigh", "float64")])
def test_continuous_distributions_are_not_taken_for_counts(name, dtype):
    make, cdf, low = OWN[name]
    output = heads.DistributionLambda(make, 1, dtype=dtype)(tf.zeros([3, 1], dtype))
    rtol = 1e-9 if dtype == "float64" else 2e-6
    found = nllfit.quantile(output, LEVELS).numpy()
    levels = LEVELS.reshape([-1, *[1] * (found.ndim - 1)])
    np.testing.assert_allclose(cdf(found.astype(float)), levels + 0 * found, rtol=rtol)
    y = np.array([0.3, 0.9, 1.7]).reshape(found.shape[1:])
    np.testing.assert_allclose(nllfit.cdf(output, y), cdf(y), rtol=rtol)
    expected = [
        integrate.quad(lambda z: cdf(z) ** 2, low, one)[0] + integrate.quad(lambda z: (1 - cdf(z)) ** 2, one, np.inf)[0]
        for one in y.ravel()
    ]
    np.testing.assert_allclose(np.ravel(nllfit.crps(y, output)), expected, rtol=max(rtol, 1e-7))


@pytest.mark.parametrize(
    ("distribution", "discrete"),
    [
        (tfd.Mixture(tfd.Categorical(probs=[0.5, 0.5]), [tfd.Poisson(1.0), tfd.Geometric(0.5)]), True),
        (tfd.Inflated(tfd.Poisson(1.0), 0.5), True),
        (tfd.Independent(mixture(tf.zeros([3, 1])), 1), False),
        (tfd.Categorical(probs=[0.5, 0.5]), True),
        (tfd.MixtureSameFamily(tfd.Categorical(probs=[0.5, 0.5]), tfd.Poisson([1.0, 2.0])), True),
        (tfd.MixtureSameFamily(tfd.Categorical(probs=[0.5, 0.5]), tfd.Normal([1.0, 2.0], 1.0)), False),
        (tfd.Independent(Rayleigh([1.0]), 1), False),
        (tfd.Mixture(tfd.Categorical(probs=[0.5, 0.5]), [tfd.Normal(0.0, 1.0), Rayleigh(1.0)]), False),
        (tfd.Dirichlet([1.0, 2.0]), False),
        (tfd.QuantizedDistribution(tfd.Normal(0.0, 1.0)), True),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_discreteness_is_found_from_components_or_samples(distribution, discrete):
    assert is_discrete(distribution) == discrete
