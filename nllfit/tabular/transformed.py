"""The log-density of outcomes that scikit-learn's `TransformedTargetRegressor` transforms before a model is fitted."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.compose import TransformedTargetRegressor
from sklearn.utils.validation import check_is_fitted

from nllfit.families.law import elements_of
from nllfit.tabular.outcome_checks import checked_outcomes
from nllfit.tabular.scoring import shaped

__all__ = ["transformed_log_density"]

# The step sizes of the difference quotients, relative to the outcome. For a smooth transformation, the relative error
# of the derivative is about 1e-11. Near an end of the transformation's domain, such as near 1 for the logit, only a
# small step stays inside the domain.
_STEPS = 1e-3 / 4.0 ** np.arange(11)


def transformed_log_density(model: TransformedTargetRegressor, X: object, y: ArrayLike) -> np.ndarray:
    """Returns the log-densities of outcomes under a `TransformedTargetRegressor` of a `DistributionRegressor`.

    The regressor predicts the distribution of `z = t(y)`, so its `score` is the mean log-likelihood of `z`. The
    log-density of `y` itself is `log p(t(y) | x) + log |t'(y)|`. A difference quotient approximates `t'`.

    Args:
      model: a fitted `TransformedTargetRegressor`, whose `regressor` is a `DistributionRegressor`.
      X: `[n, m]`.
      y: the outcomes in their original unit, `[n]`.

    Returns:
      The log-densities `[n]`, in nats. Their mean can be compared with the `score` of a `DistributionRegressor` that
      was fitted to `y`. If an outcome has a probability instead of a density, as with `"Values"`, the result is the
      log-probability of `t(y)`.

    Raises:
      TypeError: if `model` is not a `TransformedTargetRegressor` of a regressor with `predict_distribution`.
      NotFittedError: if `model` is not fitted.
      ValueError: if `y` has several columns, not as many rows as `X`, or a number that is not finite.

    Example:
      >>> from sklearn.compose import TransformedTargetRegressor
      >>> from nllfit.tabular import DistributionRegressor, transformed_log_density
      >>> X = np.linspace(0, 1, 60)[:, None]
      >>> regressor = DistributionRegressor(network="smooth", num_members=1, max_epochs=5, random_state=0)
      >>> model = TransformedTargetRegressor(regressor, func=np.log, inverse_func=np.exp).fit(X, np.exp(X[:, 0]))
      >>> transformed_log_density(model, X[:3], np.exp(X[:3, 0])).shape
      (3,)
    """
    if not isinstance(model, TransformedTargetRegressor) or not hasattr(model.regressor, "predict_distribution"):
        raise TypeError(
            f"`model` is {model!r}: give a `TransformedTargetRegressor` whose `regressor` is a `DistributionRegressor`."
        )
    check_is_fitted(model)
    y = checked_outcomes(model, y)
    if y.ndim > 1 and y.shape[1] > 1:
        raise ValueError(f"`y` has {y.shape[1]} columns: give one outcome for each row.")
    y = y.reshape(-1, 1)
    predicted = model.regressor_.predict_distribution(X)
    if len(y) != predicted.batch_shape[0]:
        raise ValueError(f"`X` has {predicted.batch_shape[0]} rows, but `y` has {len(y)}: give one outcome for each.")

    z = shaped(model.transformer_.transform(y), predicted)
    log_density, elements = np.asarray(predicted.log_prob(z)), elements_of(predicted)
    if elements.is_discrete:
        return log_density
    atoms = np.empty([0, len(y)]) if elements.atoms is None else np.reshape(elements.atoms[0], [-1, len(y)])
    derivatives = _derivatives(model.transformer_.transform, y)
    return log_density + np.where(np.any(atoms == np.ravel(z), axis=0), 0.0, np.log(np.abs(derivatives)))


def _derivatives(transform, y):
    """Returns the derivative of a transformation at outcomes `[n, 1]`, as `[n]`.

    The difference quotient is computed for several step sizes, from the largest to the smallest. The quotient changes
    less and less from one step size to the next, until rounding errors dominate. The result is the quotient at which
    these changes stop decreasing.
    """

    def quotient(h):
        with np.errstate(invalid="ignore", divide="ignore"):  # `y + h` or `y - h` may be outside the domain
            return (transform(y + h) - transform(y - h)) / (2 * h)

    steps = [step * np.where(y == 0, 1, np.abs(y)) for step in _STEPS]
    derivatives = np.stack([(4 * quotient(h) - quotient(2 * h)) / 3 for h in steps])[..., 0]
    changes = np.abs(np.diff(derivatives, axis=0))
    changes[~np.isfinite(changes)] = np.inf
    next_changes = np.concatenate([changes[1:], np.full_like(changes[:1], np.inf)])
    best = np.argmax(np.isfinite(changes) & (changes <= next_changes), axis=0)
    return derivatives[best, np.arange(len(y))]
