"""Users' distribution classes behave like TFP's families: support, discreteness, CDF, and wrapped families."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from scipy import integrate, stats
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import util as tfpu
from tensorflow_probability.python.distributions.distribution import DiscreteDistributionMixin

import nllfit
from tests.keras_versions import each_keras, mainly

tfd = tfp.distributions


class Silent(tfd.Distribution):
    """A Rayleigh that does not declare its support; below 0 its formula returns the density at -y."""

    def __init__(self, scale, validate_args=False, allow_nan_stats=True, name="Silent"):
        parameters = dict(locals())
        self.scale = tf.convert_to_tensor(scale)
        kind = tfd.NOT_REPARAMETERIZED
        super().__init__(self.scale.dtype, kind, validate_args, allow_nan_stats, parameters, name=name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        softplus = lambda: tfb.Softplus(low=tf.constant(1e-10, dtype))  # noqa: E731
        return {"scale": tfpu.ParameterProperties(default_constraining_bijector_fn=softplus)}

    def _event_shape(self):
        return tf.TensorShape([])

    def _event_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _log_prob(self, y):
        return tf.math.log(tf.abs(y)) - 2 * tf.math.log(self.scale) - tf.square(y / self.scale) / 2

    def _mean(self):
        return self.scale * np.sqrt(np.pi / 2)

    def _cdf(self, y):
        return -tf.math.expm1(-tf.square(y / self.scale) / 2)


class Rayleigh(Silent):
    def _default_event_space_bijector(self):
        return tfb.Exp()


class WithTails(Rayleigh):
    def _log_cdf(self, y):
        return tf.math.log(-tf.math.expm1(-tf.square(y / self.scale) / 2))

    def _log_survival_function(self, y):
        return -tf.square(y / self.scale) / 2


class Counts(DiscreteDistributionMixin, Silent):
    def _log_prob(self, y):
        return tfd.Poisson(self.scale).log_prob(y)

    def _cdf(self, y):
        return tfd.Poisson(self.scale).cdf(y)


class Undescribed(Silent):
    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        raise NotImplementedError


def log_normal(params):
    return tfd.Independent(tfd.LogNormal(params, 1.0), 1)


def beta(params):
    return tfd.Independent(tfd.Beta(tf.exp(params), 1.0), 1)


def poisson(params):
    return tfd.Poisson(log_rate=params[..., 0])


def flow(params):
    return tfd.TransformedDistribution(tfd.Normal(params[..., 0], 1.0), tfb.Sigmoid())


def own(params):
    return tfd.Independent(Rayleigh(tf.exp(params)), 1)


def either(params):
    loc = params[..., 0]
    parts = [tfd.Beta(tf.exp(loc), tf.ones_like(loc)), tfd.Normal(loc, tf.ones_like(loc))]
    return tfd.Mixture(tfd.Categorical(logits=tf.zeros([*params.shape[:-1], 2])), parts)


BEYOND = {
    "log_normal": (log_normal, [[-1.0]], "non-negative"),
    "beta": (beta, [[2.0]], "less than or equal to"),
    "poisson": (poisson, [0.5], "fractional"),
    "flow": (flow, [1.5], "outside the support"),
    "own": (own, [[-1.0]], "outside the support"),
}


@mainly(tf_keras)
@pytest.mark.parametrize("name", BEYOND)
def test_an_outcome_beyond_the_support_of_a_functions_distribution_is_refused(kit, name):
    make, y, message = BEYOND[name]
    head, params = kit.heads.DistributionLambda(make, 1), tf.zeros([1, 1])
    with pytest.raises(ValueError, match=f"`y_true` holds an outcome that .* cannot have: .*{message}"):
        kit.losses(y, head(params))
    unchecked = kit.heads.DistributionLambda(make, 1, validate_args=False)
    assert not kit.distribution(unchecked(params)).validate_args
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        tf.function(lambda p: kit.losses(y, head(p)))(params)


@each_keras
def test_fit_refuses_an_outcome_outside_a_functions_support(kit):
    model = kit.keras.Sequential([kit.keras.Input((1,)), kit.heads.DistributionLambda(beta, 1)])
    model.compile("sgd", kit.loss)
    with pytest.raises(
        ValueError, match=r"`y` holds, at row 1, \[2.\], which Beta|`y` holds, at row 1, \[2.\], which Ind"
    ):
        nllfit.fit(model, np.zeros([2, 1], "float32"), np.array([[0.5], [2.0]], "float32"), verbose=0)


def test_a_mixture_of_different_supports_accepts_outcomes_of_either():
    output = nllfit.heads.DistributionLambda(either, 1)(tf.zeros([3, 1]))
    y = np.array([2.0, 0.5, -1.0])
    expected = np.log(stats.beta(1, 1).pdf(y) / 2 + stats.norm.pdf(y) / 2)
    np.testing.assert_allclose(output.log_prob(y), expected, rtol=1e-6)  # rounding of float32
    params = tf.constant([[0.3]])
    with tf.GradientTape() as tape:
        tape.watch(params)
        log_prob = nllfit.heads.DistributionLambda(either, 1)(params).log_prob([2.0])
    # `y - loc`, the derivative of the Normal's log-density.
    np.testing.assert_allclose(tape.gradient(log_prob, params), [[1.7]], rtol=1e-5)


def test_a_users_class_is_a_family_with_its_declared_support():
    with pytest.raises(ValueError, match=r"`y` holds -1.0, which Rayleigh cannot have: It is outside the support"):
        nllfit.maximum_likelihood(Rayleigh, [1.0, -1.0, 2.0])


def test_the_discreteness_of_a_users_class_is_found():
    assert not nllfit.Family(Rayleigh).is_discrete
    assert nllfit.Family(Counts).is_discrete
    with pytest.raises(
        ValueError, match=r"Silent does not say whether.*_default_event_space_bijector.*DiscreteDistrib"
    ):
        nllfit.Family(Silent)
    with pytest.raises(ValueError, match=r"Undescribed does not describe its parameters.*`_parameter_properties\(cls"):
        nllfit.Family(Undescribed)
    with pytest.raises(ValueError, match="Undescribed does not describe its parameters"):
        nllfit.heads.DistributionLambda(lambda params: Undescribed(params[..., 0]), 1)


@pytest.mark.thorough
def test_elements_of_a_users_class_have_a_cdf_and_quantiles():
    scale = np.array([1.0, 2.0])
    for made in (tfd.Independent(Rayleigh(scale), 1), nllfit.Family(Rayleigh, 2).build({"scale": scale}, tf.float64)):
        levels = nllfit.cdf(made, [0.5, 3.0])
        np.testing.assert_allclose(levels, stats.rayleigh(scale=scale).cdf([0.5, 3.0]), rtol=1e-12)
        np.testing.assert_allclose(nllfit.quantile(made, 0.3), stats.rayleigh(scale=scale).ppf(0.3), rtol=1e-9)


@pytest.mark.parametrize("cls", [Rayleigh, WithTails])  # without and with log-tails
def test_a_users_class_with_a_cdf_can_be_censored_truncated_and_inflated(cls):
    law = stats.rayleigh(scale=2.0)
    held = {"scale": tf.constant(2.0, tf.float64)}
    pairs = np.array([[1.0, 1.0], [40.0, np.inf], [-np.inf, 1e-3], [0.5, 1.5], [30.0, 30.5]])
    expected = [law.logpdf(1.0), law.logsf(40.0), law.logcdf(1e-3), np.log(law.cdf(1.5) - law.cdf(0.5))]
    expected += [law.logsf(30.0) + np.log1p(-np.exp(law.logsf(30.5) - law.logsf(30.0)))]
    found = nllfit.Censored(cls).build(held, tf.float64).log_prob(pairs)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    truncated = nllfit.Truncated(cls, 3.0).build(held, tf.float64)
    np.testing.assert_allclose(truncated.log_prob(4.0), law.logpdf(4.0) - law.logsf(3.0), rtol=1e-12)
    inflated = nllfit.ZeroInflated(cls, zero_probs=0.25).build(held, tf.float64)
    np.testing.assert_allclose(inflated.log_prob([0.0, 1.0]), [np.log(0.25), np.log(0.75) + law.logpdf(1.0)], rtol=1e-9)
    assert nllfit.Hurdle(cls).family.name == cls.__name__


def test_counts_of_a_users_class_can_be_censored():
    found = nllfit.Censored(Counts).build({"scale": tf.constant(3.0, tf.float64)}, tf.float64)
    law = stats.poisson(3.0)
    np.testing.assert_allclose(
        found.log_prob([[2.0, 2.0], [30.0, np.inf], [-np.inf, 1.0]]),
        [law.logpmf(2), law.logsf(30), law.logcdf(1)],
        rtol=1e-9,
    )


@pytest.mark.thorough
def test_a_users_class_without_a_sampler_can_be_fitted():
    y = stats.rayleigh(scale=2.0).rvs(40, random_state=0)
    estimate = nllfit.maximum_likelihood(nllfit.Censored(WithTails), nllfit.right_censored(np.minimum(y, 3), y < 3))
    assert estimate.converged
    np.testing.assert_allclose(estimate.parameters["scale"], np.sqrt(np.sum(np.minimum(y, 3) ** 2) / 2 / np.sum(y < 3)))


class Logistic(Rayleigh):
    """A user's class with the name of TFP's Logistic. Its attributes have names that nllfit uses."""

    latent = ends = window = zero_probs = some_outcome = log_interval = cdf_and_survival = 3.0


def test_a_users_class_with_the_name_of_tfps_keeps_its_own_behaviour():
    own, law = Logistic(np.array([2.0])), stats.rayleigh(scale=2.0)
    np.testing.assert_allclose(nllfit.cdf(own, 1.5), law.cdf([1.5]), rtol=1e-12)
    np.testing.assert_allclose(nllfit.quantile(own, 0.3), law.ppf([0.3]), rtol=1e-9)
    expected = (
        integrate.quad(lambda z: law.cdf(z) ** 2, 0, 1.5)[0] + integrate.quad(lambda z: law.sf(z) ** 2, 1.5, 60)[0]
    )
    np.testing.assert_allclose(nllfit.crps([1.5], own), [expected], rtol=1e-8)
    head = nllfit.heads.DistributionLambda(lambda params: tfd.Independent(Logistic(tf.exp(params)), 1), 1)
    np.testing.assert_allclose(
        head(tf.zeros([2, 1])).log_prob([[1.0], [2.0]]), stats.rayleigh.logpdf([1, 2]), rtol=1e-6
    )


class Signed(Silent):
    """A discrete Laplace of positive and negative integers."""

    def __init__(self, scale, validate_args=False, allow_nan_stats=True, name="Signed"):
        super().__init__(scale, validate_args, allow_nan_stats, name)
        self._dtype, self._parameters = tf.int32, {"scale": scale, "validate_args": validate_args}

    def _log_prob(self, y):
        return tf.math.log(tf.tanh(self.scale / 2)) - self.scale * tf.abs(tf.cast(y, self.scale.dtype))

    def _cdf(self, y):
        y, below = tf.cast(y, self.scale.dtype), tf.math.sigmoid(self.scale)
        return tf.where(y < 0, tf.exp(self.scale * (y + 1)) * (1 - below), 1 - tf.exp(-self.scale * y) * (1 - below))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_counts_of_a_users_class_may_be_integers_and_negative(dtype):
    own, law, y = Signed(np.array([0.5], dtype)), stats.dlaplace(0.5), np.array([[-3], [-1], [0], [2]])
    np.testing.assert_allclose(nllfit.cdf(own, y), law.cdf(y), rtol=1e-6)
    np.testing.assert_array_equal(nllfit.quantile(own, [0.1, 0.3, 0.5, 0.9])[:, 0], law.ppf([0.1, 0.3, 0.5, 0.9]))
    pairs = [[[-3.0, -3.0]], [[-2.0, 1.0]], [[2.0, np.inf]], [[-np.inf, -2.0]]]
    expected = [law.logpmf(-3), np.log(law.cdf(1) - law.cdf(-2)), law.logsf(2), law.logcdf(-2)]
    found = nllfit.Censored(Signed).build({"scale": tf.constant([0.5], dtype)}, tf.as_dtype(dtype)).log_prob(pairs)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6)


class Mirrored(Rayleigh):
    """The negative of a Rayleigh. Its support ends at 0."""

    def _default_event_space_bijector(self):
        return tfb.Scale(tf.constant(-1.0, self.dtype))(tfb.Exp())

    def _cdf(self, y):
        return tf.exp(-tf.square(y / self.scale) / 2)


def test_a_support_of_a_users_class_may_have_only_an_upper_end():
    law = stats.rayleigh(scale=2.0)
    pairs = np.array([[-0.5, np.inf], [-1e-4, np.inf], [-1.5, -1.0], [-2.4, -2.3], [-9.0, -8.0], [-np.inf, -30.0]])
    expected = [law.logcdf(0.5), law.logcdf(1e-4), *(np.log(law.cdf(-a) - law.cdf(-b)) for a, b in pairs[2:4])]
    expected += [law.logsf(8.0) + np.log1p(-np.exp(law.logsf(9.0) - law.logsf(8.0))), law.logsf(30.0)]
    found = nllfit.Censored(Mirrored).build({"scale": tf.constant(2.0, tf.float64)}, tf.float64).log_prob(pairs)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


class Decays(tfd.Distribution):
    """Counts of a rare event in an integer dtype."""

    def __init__(self, rate, validate_args=False, allow_nan_stats=True, name="Decays"):
        parameters = dict(locals())
        self.rate = tf.convert_to_tensor(rate)
        super().__init__(tf.int64, tfd.NOT_REPARAMETERIZED, validate_args, allow_nan_stats, parameters, name=name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {"rate": tfpu.ParameterProperties()}

    def _event_shape(self):
        return tf.TensorShape([])

    def _cdf(self, count):
        return -tf.math.expm1(-self.rate * (tf.cast(count, self.rate.dtype) + 1))


def test_counts_of_a_large_dtype_may_exceed_a_billion():
    counts = Decays(np.array([1e-10]))
    np.testing.assert_allclose(nllfit.cdf(counts, [5e9]), [-np.expm1(-0.5)], rtol=1e-9)
    np.testing.assert_allclose(nllfit.quantile(counts, 0.5), [np.log(2) * 1e10], rtol=1e-9)
