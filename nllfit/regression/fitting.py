"""`regression` fits a Keras model that a formula and a table describe."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nllfit.initialization.marginal_estimate import marginal_numbers
from nllfit.optimum.curvature import LEAST_DROP
from nllfit.regression import infinite_coefficients
from nllfit.regression.coefficient_search import Objective, maximum
from nllfit.regression.data_columns import as_clusters, as_frame, as_weights
from nllfit.regression.designs import Design, sides
from nllfit.regression.family_and_main_parameter import CUTPOINTS, coded, family_of, main_parameter
from nllfit.regression.formula_outcomes import Outcome
from nllfit.regression.keras_model import (
    Predictor,
    build_model,
    is_logit_vector,
    names_of,
    places_of,
    set_coefficients,
    sizes,
)
from nllfit.regression.results import Regression
from nllfit.training import fit_lbfgs
from nllfit.training.loss_surface import flat_weights

__all__ = ["regression"]

# If the log-likelihood rises without end, the search stops at finite coefficients. `infinite_coefficients.reason` then
# tries long moves to larger coefficients. Because the direction of a move is not exact, we accept that it lowers the
# log-likelihood by up to this number of nats. If the search seems to have ended at a maximum, `LEAST_DROP` replaces
# this number: a fall by more than `LEAST_DROP` then confirms the maximum.
_TOLERANCE = 0.1


def regression(
    formula: str,
    data: Any,
    family: Any = "Normal",
    *,
    weights: str | ArrayLike | None = None,
    offset: str | ArrayLike | None = None,
    cluster: str | ArrayLike | None = None,
    covariance: str = "information",
    parameterization: str | None = "mean",
    link: Mapping[str, str] | None = None,
    **parameters: Any,
) -> Regression:
    """Fits a regression, which a formula and a table describe, by maximum likelihood.

    The formula describes the main parameter of the family: the `loc` of a Normal, the `mean` of a Gamma, a Beta or a
    NegativeBinomial, the `logits` of a Bernoulli, the `log_rate` of a Poisson, the `scale` of a Weibull. For row `i`,
    the link maps the linear predictor `u_i` to this parameter:

        u_i = x_i' b + offset_i

    `x_i` are the columns that `formulaic` makes from the formula for row `i`, and `b` are the coefficients. The
    notation is R's: `y ~ x`, `y ~ a * b`, `y ~ C(group)`, `y ~ C(group, contr.sum)`, `y ~ spline(age, 4)` (a B-spline
    with 4 columns), `y ~ log(x) + offset(log(exposure))`. Any other parameter is one number for all rows, unless a
    keyword argument gives a formula for it: `scale="~ z"`. Positive parameters have the link `exp`, so their
    coefficients are on the scale of the logarithm. A family object keeps its own links.

    The fitted Keras model, `result.model`, has a dense layer for each parameter, followed by a head. All layers use
    float64. Newton's method finds the coefficients. If Newton's method does not end at a maximum, `fit_lbfgs` searches
    again from the beginning.

    Args:
      formula: "outcome ~ terms". The outcome is a column, an expression such as `log(y)`, or a censored time:
        `Surv(time, event)` with `event` 1 for an event and 0 for censoring, `left_censored(y, observed)` or
        `interval_censored(lower, upper)`. A column of text contains class labels.
      data: a pandas `DataFrame`, or a dict of columns. The columns that are used must have no missing values.
      family: the name or class of a distribution of TFP, or a family object, such as `Family`, `ZeroInflated`, `Hurdle`
        or `Censored`. A family object must have no shared parameters, and contain its links and fixed values. For class
        labels use "Bernoulli" (the second label is 1), "Categorical" (the first label is the reference) or
        "OrderedLogistic".
      weights: the number of times that each row counts: the name of a column, or `[n]`.
      offset: a term of `u` with coefficient 1, in addition to offsets in the formula: the name of a column, or `[n]`.
      cluster: labels of dependent rows: the name of a column, or `[n]`. The covariance is then a sandwich in which
        the gradients of the rows are summed over each of the `G` clusters. The sandwich is multiplied by `G / (G - 1) *
        (n - 1) / (n - q)`, as in statsmodels, where `q` is the number of coefficients and `n` the sum of the weights.
      covariance: "information" for the inverse of the observed information, or "sandwich" (HC0), which in large samples
        is also valid if the outcomes do not follow the family.
      parameterization: "mean" for the parameters of `ByMean`, if it supports the family; None for TFP's parameters.
      link: `{parameter: link}`, as for `Family`. The link maps `u` to the parameter, so it is the inverse of the link
        function of a GLM:
        - "exp" for log, "sigmoid" for logit, "normal_cdf" for probit;
        - "gumbel_min_cdf" for cloglog, "gumbel_cdf" for loglog;
        - "reciprocal" (`1 / |u|`) for inverse, "square" for sqrt;
        - "absolute" for the identity link of a positive parameter.
      **parameters: for each named parameter, a formula "~ terms" or a fixed value.

    Returns:
      A `Regression`. Check its `converged` and `message` first.

    Raises:
      ImportError: without formulaic and pandas: `pip install formulaic pandas`.
      TypeError: if `data` is not a table, or `link` is not a dict.
      ValueError: if one of these is true:
        - A formula cannot be read or evaluated.
        - Values are missing, columns are linearly dependent, or a level of a column has no rows.
        - An argument is invalid or has the wrong length.
        - An outcome is outside the family's support, or may have an infinite density.

    Example:
      >>> data = {"y": [2, 3, 6, 7, 8, 9, 10, 12, 15], "x": [-1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]}
      >>> result = nllfit.regression("y ~ x", data, family="Poisson")
      >>> result.params.round(4).to_dict()
      {'Intercept': 1.8893, 'x': 0.6698}

    Source: McCullagh and Nelder, Generalized linear models, 1989; Rigby and Stasinopoulos, Generalized additive models
    for location, scale and shape, 2005.
    """
    data = as_frame(data)
    left, right = sides(formula)
    if covariance not in ("information", "sandwich"):
        raise ValueError(f'`covariance` is {covariance!r}: give "information" or "sandwich".')
    if "exposure" in parameters:  # an argument that statsmodels has
        raise ValueError("`exposure` is not an argument: add the term `offset(log(years))` to the formula.")
    outcome = Outcome.of(left, data)
    formulas = {n: v for n, v in parameters.items() if isinstance(v, str) and "~" in v}
    fixed = {name: value for name, value in parameters.items() if name not in formulas}
    fitted_family = family_of(family, outcome, parameterization, link or {}, fixed)
    y, labels = coded(outcome, fitted_family)
    counts = None if weights is None else as_weights(weights, data)
    clusters = None if cluster is None else as_clusters(cluster, data, counts)
    predictors = _predictors(fitted_family, dict(formulas), right, data, offset, labels)
    names = names_of(fitted_family, predictors)
    designs = [(p.design.matrix, p.design.offset) for p in predictors]
    objective = Objective(fitted_family, predictors, designs, y, np.ones(len(y)) if counts is None else counts)
    _check_outcomes(objective, outcome)
    _check_clusters(objective, clusters)
    model = build_model(fitted_family, predictors)
    coefficients, fault = _fitted(objective, model, names)
    return Regression(
        formula=", ".join([formula, *(f"{name} {text}" for name, text in formulas.items())]),
        model=model,
        objective=objective,
        outcome=outcome,
        labels=labels,
        coefficients=coefficients,
        names=names,
        clusters=clusters,
        kind=covariance if clusters is None else "cluster",
        fault=fault,
    )


def _check_outcomes(objective, outcome):
    """Raises a `ValueError` if an outcome is outside the family's support or may have an infinite density."""
    objective.check(outcome.name)
    infinite = np.isneginf(objective.losses_at(-0.5)) | np.isneginf(objective.losses_at(0.5))
    if infinite.any():
        name = objective.family.name
        advice = (
            "or give an interval that contains the time, by `interval_censored(lower, upper)`."
            if outcome.is_censored
            else f'or choose a family that allows them, such as `family=nllfit.Hurdle("{name}")` for zeros.'
        )
        raise ValueError(
            f"The outcome `{outcome.name}` holds {np.squeeze(objective.y[infinite][0])}, where the density of {name} "
            f"may be infinite, so that the likelihood has no maximum: drop such rows, {advice}"
        )


def _check_clusters(objective, clusters):
    """Raises a `ValueError` if the factor `(n - 1) / (n - q)` of the clustered sandwich is not positive and finite."""
    rows, size = objective.weights.sum(), objective.num_coefficients
    if clusters is not None and rows <= size:
        raise ValueError(
            f"The rows, counted by their weights, are {rows:.4g}, but errors by `cluster` need more rows than the "
            f"{size} coefficients: give `weights` that are numbers of repetitions, or more rows."
        )


def _start(objective):
    """Returns the coefficients at which the search starts. They are 0 by default.

    If the likelihood at 0 is not finite, or its gradient with respect to one of the linear predictors is 0 in all rows,
    the search starts near the marginal distribution of the outcomes: least squares fits each linear predictor to the
    unconstrained parameter of this distribution.
    """
    zeros = np.zeros(objective.num_coefficients)
    if np.isfinite(objective.value(zeros)) and objective.slopes(zeros).any(0).all():
        return zeros
    numbers = marginal_numbers(objective.family, objective.y, objective.weights)
    coefficients = []
    for predictor, (matrix, offset) in zip(objective.predictors, objective.designs, strict=True):
        for index in predictor.indices:
            target = np.full(len(matrix), numbers[index]) - (0.0 if offset is None else offset)
            coefficients.append(np.linalg.lstsq(matrix, target, rcond=None)[0])
    return np.concatenate(coefficients)


def _fitted(objective, model, names):
    """Fits the model. Returns its coefficients, and an error message or None."""
    coefficients, is_maximum = maximum(objective, _start(objective))
    fault = "the coefficients are not a maximum: the likelihood does not fall in all directions from them"
    if not is_maximum:
        x = {
            key: value
            for predictor, design in zip(objective.predictors, objective.designs, strict=True)
            for key, value in predictor.inputs(*design).items()
        }
        history = fit_lbfgs(model, x, objective.y, sample_weight=objective.weights, verbose=0)
        coefficients = flat_weights(model)[places_of(model, objective.predictors)]
        if history.converged:
            coefficients, is_maximum = maximum(objective, coefficients)
        else:
            fault = _kink(objective.family) or history.message
    set_coefficients(model, objective.predictors, coefficients)
    # In separable data, a search can end where the likelihood rises by less than rounding errors.
    infinite = infinite_coefficients.reason(objective, coefficients, names, LEAST_DROP if is_maximum else _TOLERANCE)
    return coefficients, infinite or (None if is_maximum else fault)


def _kink(family):
    """Returns a sentence if the likelihood is not smooth in the family's main parameter, otherwise None."""
    policy, name = family.search, main_parameter(family)
    if name not in (*policy.statistics, policy.corner, *policy.kinks):
        return None
    return (
        f"the coefficients are not estimates: the likelihood of {family.name} is not smooth in `{name}`, so the search "
        f"found no maximum: choose a smooth family, such as StudentT in place of Laplace, or for a regression of "
        f"medians, statsmodels' QuantReg"
    )


def _predictors(family, formulas, right, data, offset, labels):
    """Returns the linear predictor of each parameter. The main parameter comes first."""
    main, predictors, start = main_parameter(family), [], 0
    for name, size in sizes(family).items():
        is_main, is_constant = name == main, name != main and name not in formulas
        text = right if is_main else _right_side(name, formulas.pop(name, "~ 1"))
        without_intercept = is_main and CUTPOINTS in family.parameter_names
        design = Design(text, data, without_intercept, offset if is_main else None)
        classes = labels if is_logit_vector(family, name) else ()
        predictors.append(Predictor(name, size, start, design, classes, is_constant))
        start += size
    predictors.sort(key=lambda predictor: predictor.parameter != main)
    if formulas:
        (name, text), *_ = formulas.items()
        others = [p.parameter for p in predictors if p.parameter != main]
        raise ValueError(
            f"`{name}` is {text!r}, but {family.label} has no parameter `{name}`: `formula` describes `{main}`, and "
            f"the other parameters are {', '.join(others) or 'none'}."
        )
    return predictors


def _right_side(name, text):
    left, right = sides(text)
    if left:
        raise ValueError(f"`{name}` is {text!r}: give only terms, such as '~ x'; the outcome is in `formula`.")
    return right
