"""Standard errors of a fitted network's weights, from the Hessian of the likelihood and each row's gradient."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nllfit.adapters import Model
from nllfit.data_checks import num_rows
from nllfit.families.arguments import as_labels, is_missing, label_indices
from nllfit.inference.argument_checks import check_size, checked
from nllfit.inference.likelihood_derivatives import Likelihood, PenalizedLikelihood
from nllfit.inference.shared_parameter_values import named_parameters
from nllfit.inference.weight_names import feature_names
from nllfit.inference.weight_table import Coefficients
from nllfit.optimum.corners import corners
from nllfit.optimum.curvature import LEAST_DROP, Axes, axes_of, drops_around, falls_enough, points_nearby
from nllfit.training.fit_arguments import check_trainable
from nllfit.training.loss_surface import flat_weights, set_weights, surface_over

__all__ = ["standard_errors"]

# The maximum accepted distance of the weights from the optimum, in standard errors.
_NEAR = 0.1
# The number of Newton steps that undo the rounding of the weights. All use the same Hessian.
_POLISHING_STEPS = 3
# At a distance of one standard error from a maximum, the log-likelihood is lower by about 1/2 nat. A maximum is
# verified only if this drop is at least `LEAST_DROP`. The drop must also be at least as large as the smaller of two
# numbers: `_ROUNDINGS` times the rounding error of the log-likelihood, and `_MOST_NOISE` nats.
_ROUNDINGS = 8
_MOST_NOISE = 0.1
# The likelihood is constant along flat directions of the weights. A coefficient is not identified if more than this
# share of its gradient with respect to the weights lies in flat directions.
_UNIDENTIFIED = 1e-4
_NAMES_SHOWN = 6  # the maximum number of coefficient names in a message
_KINDS = {"information": "observed information", "sandwich": "sandwich"}


def standard_errors(
    model: Model,
    x: Any,
    y: Any,
    *,
    sample_weight: ArrayLike | None = None,
    covariance: str = "information",
    groups: ArrayLike | None = None,
) -> Coefficients:
    """Standard errors of the weights of a small model fitted by maximum likelihood, for example by `fit_lbfgs`.

    A dense layer before a head is a regression: linear with a `Normal` head, logistic with a `Bernoulli` head, and so
    on. This function returns the coefficient table. Let `l_i` be the negative log-likelihood of row `i`, and `H` the
    exact Hessian of the sum of all `l_i`. Then the covariance is

        information:  inv(H)
        sandwich:     inv(H) (sum_i grad l_i grad l_i') inv(H)

    The information estimator is valid if the model is correct. In large samples, the sandwich estimator (HC0) is also
    valid if the outcomes do not have the head's distribution. A head stores a shared parameter, such as a `scale`, as
    an unconstrained weight. The table shows the value of the parameter; its standard error comes from the delta method.
    Non-trainable weights, including the statistics of normalisation layers, are treated as known. The computation is in
    float64. But models that cannot be copied exactly, such as subclassed models, are computed in their own dtype.

    A regularizer is a prior (see `nllfit.equivalence.PRIORS`). If the model has a regularizer, `H` is the Hessian of
    the negative log posterior, and `inv(H)` is the covariance of the posterior's Laplace approximation. The standard
    errors are then posterior standard deviations. They do not measure the bias towards the prior.

    Args:
      model: a compiled Keras 2 or Keras 3 model that ends in one head, with at most 2000 trainable weights.
      x, y: the arrays that the model was fitted to. If `x` is a DataFrame, its columns name the first layer's weights.
      sample_weight: the number of times that each row counted in the fit, `[n]`.
      covariance: "information" or "sandwich".
      groups: labels of at least two clusters of dependent rows, `[n]`, only with "sandwich". The gradients `grad l_i`
        of a cluster are summed before the outer product is taken. The labels of rows with weight 0 are ignored.

    Returns:
      A `Coefficients`. Check its `converged` and `message` before you use the numbers. The standard errors are NaN if
      the weights are not a maximum of the likelihood or posterior, for example because training stopped early. They are
      infinite for weights that are not identified, for example those of linearly dependent columns.

    Raises:
      TypeError, ValueError: if one of these is true:
        - `fit_lbfgs` refuses the data or the model, for any reason except a constraint on a weight.
        - `x` is sparse.
        - The model has no head, several outputs or too many weights.
        - `covariance` is unknown.
        - `groups` has the wrong length, a missing label or only one label, or is given without "sandwich".
        - The log-likelihood is not finite at the weights.

    Example:
      >>> import tf_keras
      >>> logistic = tf_keras.Sequential([tf_keras.layers.Dense(1), nllfit.heads.Bernoulli()])
      >>> logistic.compile(loss=nllfit.negative_log_likelihood)
      >>> x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[0], [1], [0], [1]])
      >>> history = nllfit.fit_lbfgs(logistic, x, y, verbose=0)
      >>> coefficients = nllfit.standard_errors(logistic, x, y)
      >>> coefficients.names, coefficients.standard_errors.round(3)
      (['kernel', 'bias'], array([1.085, 1.975]))

    Source: White, Maximum likelihood estimation of misspecified models, 1982.
    """
    check_trainable(model)
    if covariance not in list(_KINDS):  # a dict would raise a TypeError if `covariance` is not hashable
        raise ValueError(f'`covariance` is {covariance!r}: give "information" or "sandwich".')
    data, family = checked(model, x, y, sample_weight)
    check_size(model.trainable_variables)
    frequencies = np.ones(num_rows(data))
    # Weights `[n, steps]` belong to time steps. They are not frequencies of rows, so the frequencies stay 1.
    if np.size(data[-1]) == len(frequencies) and sample_weight is not None:
        frequencies = np.ravel(data[-1]).astype(np.float64)
    counted = frequencies > 0 if sample_weight is None else np.reshape(data[-1], [len(frequencies), -1]).any(1)
    clusters = _as_clusters(groups, covariance, counted)
    names, estimates, jacobian = named_parameters(model, feature_names(model, x))
    weights = flat_weights(model)
    is_penalized = bool(model.losses)
    with surface_over(PenalizedLikelihood if is_penalized else Likelihood, model, data) as likelihood:
        try:
            log_likelihood = likelihood.log_likelihood(weights)
            w, axes, fault = _maximum(likelihood, weights)
            if family.is_discrete and not is_penalized and log_likelihood > -LEAST_DROP:
                # The likelihood is a probability, so its logarithm is at most 0. It is 0 only for infinite weights.
                fault = (
                    f"there are no standard errors, because the log-likelihood is {log_likelihood:.1g}, and its "
                    "maximum, 0, is at infinity, as when classes are separable"
                )
            directions = _identified(axes)
            meat = np.eye(directions.shape[1])
            if covariance == "sandwich" and fault is None:
                meat = _meat((block @ directions for block in likelihood.scores(w)), frequencies, clusters)
        finally:
            set_weights(model, weights)
    projections = jacobian @ directions
    covariances = projections @ meat @ projections.T
    unidentified = _unidentified(axes, jacobian)
    covariances[unidentified] = covariances[:, unidentified] = np.nan
    covariances[unidentified, unidentified] = np.inf
    if fault:
        covariances[:] = np.nan
    return Coefficients(
        names=names,
        estimates=estimates,
        standard_errors=np.sqrt(np.diag(covariances)),
        covariance=covariances,
        kind=_kind(covariance, clusters, is_penalized),
        log_likelihood=log_likelihood,
        num_observations=float(frequencies.sum()),
        num_parameters=directions.shape[1],
        label=family.label,
        converged=fault is None,
        message=fault or _success(likelihood.of, [name for name, bad in zip(names, unidentified, strict=True) if bad]),
    )


def _kind(covariance, clusters, is_penalized):
    """Names the estimator of the covariance."""
    if clusters is not None:
        return f"sandwich, {clusters.max() + 1} groups"
    return "Laplace approximation" if is_penalized and covariance == "information" else _KINDS[covariance]


def _as_clusters(groups, covariance, counted):
    """Returns the index of each row's group, `[n]`, or None if there are no groups.

    `counted` tells which rows have a positive weight, `[n]`. The labels of the other rows are ignored.
    """
    if groups is None:
        return None
    if covariance != "sandwich":
        raise ValueError('`groups` need the sandwich estimator: give `covariance="sandwich"` as well.')
    if np.shape(groups) != counted.shape:
        raise ValueError(
            f"`groups` has shape {np.shape(groups)}, but there are {len(counted)} rows: give a label for each."
        )
    labels = as_labels("groups", groups)
    missing = is_missing(labels) & counted
    if missing.any():
        raise ValueError(
            f"`groups` has no label at row {np.argmax(missing)}: give each row a label, or drop such rows; "
            f"{missing.sum()} labels are missing."
        )
    clusters = label_indices(labels, counted)
    if clusters.max() == 0:
        raise ValueError("`groups` has one label for all rows: give labels of at least two groups.")
    return clusters


def _maximum(likelihood: Likelihood, w: np.ndarray) -> tuple[np.ndarray, Axes, str | None]:
    """Returns the maximum near weights `[p]`, the principal axes of the Hessian there, and a message.

    The message is None if the maximum was verified. Otherwise the message says why there are no standard errors. The
    weights were rounded to the model's dtype. Therefore directions that are exactly flat at the maximum can seem
    slightly curved. A few Newton steps undo the rounding.
    """

    def log_likelihoods(points):
        values = -np.array([likelihood.value(point) for point in points])
        return np.where(np.isnan(values), -np.inf, values)  # NaN: a parameter is outside its domain

    fault: str | None = None
    value, gradient = likelihood.value_and_gradient(w)
    axes, maximum = _axes(likelihood, w), w
    zeros = int(corners(lambda point: likelihood.value_and_gradient(point)[1], w).sum())
    if zeros:
        fault = (
            f"there are no standard errors, because {zeros} of the weights are 0 at a corner of the {likelihood.of}, "
            f"such as an L1 penalty has, where there is no second derivative"
        )
        return w, axes, fault
    distance = np.linalg.norm(_identified(axes).T @ gradient)
    if not distance < _NEAR:
        fault = (
            f"there are no standard errors, because the weights are not at a maximum of the {likelihood.of}, but "
            f"{distance:.2g} standard errors away: continue with `fit_lbfgs`, with the negative log-likelihood as the "
            f"loss"
        )
        return w, axes, fault
    for _ in range(_POLISHING_STEPS):
        maximum = maximum - _identified(axes) @ (_identified(axes).T @ gradient)
        _, gradient = likelihood.value_and_gradient(maximum)
    axes = _axes(likelihood, maximum)
    least = max(LEAST_DROP, min(_ROUNDINGS * likelihood.eps * abs(value), _MOST_NOISE))
    if np.any(axes.curvatures < 0):
        fault = (
            f"there are no standard errors, because the weights are a saddle point of the {likelihood.of}: train "
            f"further"
        )
    elif axes.flat.all():
        fault = f"there are no standard errors, because no weight changes the {likelihood.of}"
    elif not falls_enough(
        drops_around(log_likelihoods, maximum, -likelihood.value(maximum), _identified(axes))[0], least
    ):
        fault = (
            f"there are no standard errors, because the log-{likelihood.of} does not fall at a distance of one "
            "standard error: its maximum is elsewhere, or at infinity, as when classes are separable or all outcomes "
            "of a group are equal"
        )
    return maximum, axes, fault


def _axes(likelihood, w):
    nearby = points_nearby(w, likelihood.eps)
    try:
        return axes_of(likelihood.curvature, w, nearby, likelihood.curvature_eps)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"The log-likelihood, {-likelihood.value(w):.4g}, or one of its second derivatives is not finite at the "
            f"model's weights: check the weights and the outcomes."
        ) from None


def _identified(axes):
    """Returns the directions that change the likelihood, `[p, r]`. Each has the length of one standard error."""
    return axes.directions[:, ~axes.flat]


def _unidentified(axes: Axes, jacobian: np.ndarray) -> np.ndarray:
    """Returns whether each coefficient is not identified, `[q]`.

    Such a coefficient changes along a direction in which the likelihood is constant.
    """
    flat, _ = np.linalg.qr(axes.scales[:, None] * axes.directions[:, axes.flat])
    gradients = jacobian / axes.scales
    return np.linalg.norm(gradients @ flat, axis=1) > _UNIDENTIFIED * np.linalg.norm(gradients, axis=1)


def _meat(scores: Iterable[np.ndarray], frequencies: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """Returns the middle factor of the sandwich, `[r, r]`: the sum of outer products of scores over rows or clusters.

    The blocks `[rows, r]` of `scores` contain each row's score times its frequency. The outer product of a row would
    contain the square of the frequency, so the product is divided by the frequency.
    """
    of_rows = np.concatenate(list(scores))
    if clusters is not None:
        of_clusters = np.zeros([clusters.max() + 1, of_rows.shape[1]])
        np.add.at(of_clusters, clusters, of_rows)
        return of_clusters.T @ of_clusters
    return of_rows.T @ (of_rows / np.where(frequencies > 0, frequencies, 1.0)[:, None])


def _success(of: str, names: list[str]) -> str:
    """Returns the message for weights that are a maximum. `names` are the coefficients that are not identified."""
    if not names:
        return f"the weights are a maximum of the {of}"
    shown = ", ".join(f"`{name}`" for name in names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
    return (
        f"the weights are a maximum of the {of}, but not the only one: {shown} can change together without a "
        f"change of the {of}, as when columns depend on each other or a unit is idle, so their standard errors "
        f"are infinite"
    )
