"""Families of vectors, matrices and directions.

Most entries give the distributions of the elements (`marginal`) or the surface on which outcomes lie. A density on a
surface is per unit area, so it cannot be compared with a density in the whole space.
"""

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.facts import Facts, Tails
from nllfit.families.interval_probability import by_quadrature
from nllfit.families.law import law_of
from nllfit.families.laws.power_derivatives import derivative_correction
from nllfit.families.search_policy import SearchPolicy

__all__ = ["VECTORS"]

_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(40) + np.array([[1.0], [0.0]])) / 2
_NATS = 50.0  # nats: we integrate until the log-density is this much lower than at the start
_SIMPLEX, _SPHERE = "the simplex", "the sphere"


def _normal_marginal(d):
    return tfd.Normal(d.mean(), d.stddev())


def _student_t_marginal(d):
    return tfd.StudentT(d.df[..., None], d.loc, tf.norm(d.scale.to_dense(), axis=-1))


def _other_concentrations(d):
    return tf.reduce_sum(d.concentration, -1, keepdims=True) - d.concentration


def _beta_binomial_marginal(d):
    return tfd.BetaBinomial(d.total_count[..., None], d.concentration, _other_concentrations(d))


def _dirichlet_log_prob(d: tfd.Dirichlet, y: tf.Tensor) -> tf.Tensor:
    return tfd.Dirichlet._log_prob(d, y) + tf.reduce_sum(derivative_correction(d.concentration - 1, y), -1)


def _is_on_simplex(d: tfd.Dirichlet, y: tf.Tensor) -> tf.Tensor:
    return (tf.abs(tf.reduce_sum(y, -1) - 1) < 1e-5) & tf.reduce_all(y >= 0, -1)


def _von_mises_cdf(d: tfd.VonMises, y: tf.Tensor) -> Tails:
    """Computes the CDF by quadrature. At a concentration of 10, TFP's CDF has only 3 correct digits in the tail."""
    concentration, angle = d.concentration, tf.abs(y - d.loc)
    slope, curvature = concentration * tf.sin(angle), concentration * tf.maximum(tf.cos(angle), 0.0)
    reach = 4 * _NATS / (slope + tf.sqrt(tf.square(slope) + 2 * _NATS * curvature) + 1e-300)
    reach = tf.minimum(tf.stop_gradient(reach), math.pi - angle)[..., None]
    nodes, weights = (tf.constant(values, y.dtype) for values in (_NODES, _WEIGHTS))
    half_step = reach * nodes / 2
    log_ratios = -2 * concentration[..., None] * tf.sin(angle[..., None] + half_step) * tf.sin(half_step)
    integral = tf.reduce_sum(tf.exp(log_ratios) * reach * weights, -1)
    height = tf.exp(-2 * concentration * tf.square(tf.sin(angle / 2))) / tf.math.bessel_i0e(concentration)
    tail = height * integral / (2 * math.pi)
    return tf.where(y <= d.loc, tail, 1 - tail), tf.where(y <= d.loc, 1 - tail, tail)


def _von_mises_tails(d: tfd.VonMises, y: tf.Tensor) -> Tails:
    return by_quadrature(law_of(tfd.VonMises(tf.zeros_like(d.concentration), d.concentration)), y - d.loc)


def _von_mises_fisher_log_prob(d: tfd.VonMisesFisher, y: tf.Tensor) -> tf.Tensor:
    """Returns TFP's log-density on the sphere, and `-inf` elsewhere."""
    is_on_sphere = tf.abs(tf.norm(y, axis=-1) - 1) < 1e-6
    return tf.where(is_on_sphere, tfd.VonMisesFisher._log_prob(d, y), tf.constant(-np.inf, y.dtype))


# If the columns of a sample are linearly dependent, the likelihood has no maximum: it grows without bound as the
# covariance approaches a singular matrix.
_FREE_COVARIANCE = SearchPolicy(free_covariance=True)

VECTORS: Mapping[type, Facts] = {
    tfd.CholeskyLKJ: Facts(surface="factors of correlation matrices"),
    tfd.Dirichlet: Facts(
        log_prob=_dirichlet_log_prob,
        is_possible=_is_on_simplex,
        surface=_SIMPLEX,
        marginal=lambda d: tfd.Beta(d.concentration, _other_concentrations(d)),
    ),
    tfd.DirichletMultinomial: Facts(marginal=_beta_binomial_marginal),
    tfd.ExpRelaxedOneHotCategorical: Facts(
        surface="the logarithms of the simplex", center=lambda d: d.probs_parameter()
    ),
    tfd.LKJ: Facts(surface="correlation matrices"),
    tfd.Multinomial: Facts(marginal=lambda d: tfd.Binomial(d.total_count[..., None], probs=d.probs_parameter())),
    tfd.MultivariateNormalDiag: Facts(finite_mean=True, marginal=_normal_marginal),
    tfd.MultivariateNormalDiagPlusLowRank: Facts(finite_mean=True, marginal=_normal_marginal),
    tfd.MultivariateNormalDiagPlusLowRankCovariance: Facts(finite_mean=True, marginal=_normal_marginal),
    tfd.MultivariateNormalFullCovariance: Facts(finite_mean=True, marginal=_normal_marginal, search=_FREE_COVARIANCE),
    tfd.MultivariateNormalLinearOperator: Facts(finite_mean=True, marginal=_normal_marginal),
    tfd.MultivariateNormalTriL: Facts(finite_mean=True, marginal=_normal_marginal, search=_FREE_COVARIANCE),
    tfd.MultivariateStudentTLinearOperator: Facts(marginal=_student_t_marginal),
    tfd.OneHotCategorical: Facts(marginal=lambda d: tfd.Bernoulli(probs=d.probs_parameter(), dtype=d.dtype)),
    tfd.PowerSpherical: Facts(surface=_SPHERE),
    tfd.RelaxedOneHotCategorical: Facts(surface=_SIMPLEX, center=lambda d: d.probs_parameter()),
    tfd.VectorDeterministic: Facts(marginal=lambda d: tfd.Deterministic(d.loc)),
    # TFP's bijector and TFP's CDF use different intervals of length 2 pi, so we define the ends. Outcomes
    # beyond the ends are allowed, too, because angles that differ by 2 pi are the same.
    tfd.VonMises: Facts(
        ends=lambda d: (d.loc - math.pi, d.loc + math.pi),
        cdf=_von_mises_cdf,
        integrated_tails=_von_mises_tails,
        search=SearchPolicy(circular="loc"),
    ),
    # TFP's assertions compare outcomes with a float32 number. If outcomes have another dtype, this raises an error.
    tfd.VonMisesFisher: Facts(checked_in_float32=True, log_prob=_von_mises_fisher_log_prob, surface=_SPHERE),
    # If outcomes are multiplied by 4, `scale_tril` is multiplied by only 2. So `scales` is empty.
    tfd.WishartTriL: Facts(surface="symmetric matrices", search=SearchPolicy(scales=())),
}
