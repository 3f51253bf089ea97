"""Maximum-likelihood estimation of a distribution's parameters."""

from typing import Any

from numpy.typing import ArrayLike

from nllfit.estimation.estimates import Estimate, estimate_of
from nllfit.estimation.problem import Problem
from nllfit.estimation.search import search

__all__ = ["maximum_likelihood"]


def maximum_likelihood(distribution: Any, y: ArrayLike, *, weights: ArrayLike | None = None, **fixed: Any) -> Estimate:
    """The parameters under which a sample is most likely.

    `argmax_theta sum_i w_i log p(y_i | theta)`, by Newton's method in float64, in the logarithms of positive
    parameters, from TFP's closed form where it has one, or else from the best of a thousand parameter values around the
    sample's location and spread. A location-scale family is fitted to the sample in units of its spread around its
    median. Where the likelihood is not smooth (the bounds of a Uniform, the median of a Laplace) the estimate is the
    statistic that maximises it.

    Args:
      distribution: a class of `tfp.distributions` or its name, a `Family` or a `MixtureFamily`.
      y: the sample, `[n, *event]`: `[n]` for a scalar family, `[n, d]` for vectors or d independent scalars.
      weights: how often each observation counts, `[n]`, not negative. By default each counts once.
      **fixed: parameters held at a value (`scale=1.0`), and `num_classes` for class labels.

    Returns:
      An `Estimate`. Look at its `converged` and `message` before its numbers.

    Raises:
      ValueError: before any optimisation, if `y` is empty, holds NaN, infinite values or an outcome outside the
        support, has all values equal where the likelihood then has no bound, or fewer numbers than there are
        parameters; if `weights` are of another length, negative or all zero; if no parameter is free.

    Example:
      >>> maximum_likelihood("Bernoulli", [0, 0, 0, 1, 0]).parameters
      {'probs': 0.2}

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922; Efron and Hinkley, Assessing the
    accuracy of the maximum likelihood estimator: observed versus expected Fisher information, 1978.
    """
    return estimate_of(*search(Problem(distribution, y, weights, **fixed)))
