"""The continuous ranked probability score of outcomes.

`Law.crps` computes the score of scalar outcomes in one of three ways: by a closed form (`families.laws`), by a sum over
counts (`crps_of_counts`), or by an integral (`tail_integrals`). `energy_score` computes the score of vectors.
"""

from typing import Any

import tensorflow as tf
from numpy.typing import ArrayLike

from nllfit.adapters.tensorflow import mask_of
from nllfit.adapters.tensorflow_probability import forget_graph
from nllfit.families.copies import real_dtype
from nllfit.families.law import elements_of, law_of
from nllfit.families.outcome_shapes import as_outcomes, weights_of_outcomes, where_counted
from nllfit.families.support_ends import in_one_turn
from nllfit.head_outputs import as_distribution
from nllfit.scores.energy import energy_score

__all__ = ["crps"]


@tf.autograph.experimental.do_not_convert  # AutoGraph would take a second to convert the functions called here
def crps(y_true: ArrayLike, y_pred: Any) -> tf.Tensor:
    """Returns the continuous ranked probability score of each outcome: its distance from the predicted distribution.

    The score is `integral of (F(z) - [y <= z])^2 dz = E|X - y| - E|X - X'| / 2`. `F` is the predicted CDF. `[y <= z]`
    is 1 if `y <= z`, else 0. `X` and `X'` are independent draws from the predicted distribution. Smaller is better. If
    all probability is at one point, the score is the absolute error. CRPS is strictly proper. It is less sensitive to
    outliers than the log-likelihood.

    Args:
      y_true: outcomes, `[B, *event]`. Numbers outside the support are allowed.
      y_pred: the output of a head, or any `tfd.Distribution` of batch `[B]` and event `[*event]`.

    Returns:
      The scores `[B]`, in the unit of the outcome. Except for families of vectors, a score is the sum over the elements
      of the outcome. Each element is scored with its marginal distribution. Outcomes that Keras masks have the score 0.
      The scores are computed in float64 (the energy score in the distribution's dtype) and returned in the dtype of the
      distribution's parameters. They have a gradient. The method depends on the family:

      - Closed forms: Bernoulli, Beta, Binomial, Cauchy, Chi2, Deterministic, Exponential, FiniteDiscrete, Gamma,
        GeneralizedExtremeValue, GeneralizedPareto, Geometric, Gumbel, HalfCauchy, HalfNormal, HalfStudentT, Laplace,
        LogNormal, Logistic, NegativeBinomial, Normal, PERT, Pareto, Poisson, ProbitBernoulli, StudentT, Triangular,
        TruncatedNormal, TwoPieceNormal, TwoPieceStudentT, Uniform, Weibull, Zipf; mixtures of Normals, of LogNormals
        and of Gammas.
      - Classes: the ranked probability score if they have an order, else the Brier score `sum_k (p_k - [k = y])^2`.
      - Other continuous families and mixtures: quadrature of the CDF. The relative error is about 1e-8. For a mixture
        of more than four components it is about 1e-6, or 1e-4 if the components are far narrower than the mixture.
      - Other counts, and mixtures of counts: the sum over counts. If more than 512 counts on a side of the outcome are
        likely, only every second, third, ... count is summed. The relative error is then about 1e-8, but up to 1e-2 for
        a mixture that is far wider than its components, such as a mixture of Poissons with the rates 5 and 1e5.
      - Families of vectors, such as MultivariateNormalTriL and Dirichlet, and mixtures of them: the energy score, which
        has the same formula with Euclidean distances. It is estimated from 256 draws with a fixed seed.

      The score is finite for some distributions without a mean, such as a Cauchy. It is infinite for a StudentT with
      `df <= 1/2`, for a GeneralizedPareto or GeneralizedExtremeValue with a concentration of 2 or more, and for a Zipf
      with a power of 3/2 or less.

    Raises:
      TypeError: if `y_pred` is not a distribution.
      ValueError: if `y_true` is not numeric or does not have the shape `[B, *event]`.
      NotImplementedError: if one of these is true:
        - TFP does not know the marginal distribution of the elements.
        - The outcomes are intervals (`Censored`), or angles whose distribution is a mixture.
        - Each outcome contains the ends of its truncation window (`Truncated` with "row").
        - The distribution is a flow of scalars (a `tfd.TransformedDistribution`) in float32.

    Example:
      >>> nllfit.crps([0.0], tfd.Normal([0.0], 1.0)).numpy().round(6)  # (sqrt(2) - 1) / sqrt(pi)
      array([0.233695], dtype=float32)

    Source: Gneiting and Raftery, Strictly proper scoring rules, prediction, and estimation, 2007.
    """
    distribution = as_distribution(y_pred)
    law = law_of(distribution)
    if law.latent() is not distribution:
        raise NotImplementedError(
            f"The outcomes of {distribution.name} are intervals, or numbers with the ends of a window, which have no "
            f"CRPS: use `nllfit.negative_log_likelihood`."
        )
    y, mask = as_outcomes(y_true, distribution), mask_of(y_pred)
    if mask is None:
        return _scores(law, y)
    counts = weights_of_outcomes(mask, distribution.batch_shape, distribution.batch_shape_tensor()) > 0
    scores = _scores(law, where_counted(y, distribution, counts))
    return tf.where(counts, scores, tf.zeros_like(scores))


def _scores(law, y):
    if law.is_of_vectors:
        return energy_score(law.distribution, y)
    elements = elements_of(law.distribution)
    scores = elements.crps(in_one_turn(elements, tf.cast(y, real_dtype(elements.distribution))))
    forget_graph()
    scores = tf.reduce_sum(scores, range(scores.shape.rank - law.distribution.event_shape.rank, scores.shape.rank))
    return tf.cast(scores, real_dtype(law.distribution))
