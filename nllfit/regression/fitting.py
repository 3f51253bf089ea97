"""`regression`: a formula and a table become a fitted Keras model."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nllfit.initialization.marginal import marginal_numbers
from nllfit.regression.columns import as_column, as_frame, as_numbers, as_weights
from nllfit.regression.designs import Design, sides
from nllfit.regression.family_of_outcomes import coded, family_of, main_parameter
from nllfit.regression.newton import Objective, maximum
from nllfit.regression.outcomes import Outcome
from nllfit.regression.predictors import Predictor, build_model, is_of_classes, places_of, set_coefficients, sizes
from nllfit.regression.results import Regression
from nllfit.training import fit_lbfgs
from nllfit.training.loss_surface import flat_weights

__all__ = ["regression"]

_CUTPOINTS = "cutpoints"  # one of them takes the place of an intercept


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
    """Fits a regression that a formula describes, by maximum likelihood.

    The formula is about the parameter that says where outcomes are: the `loc` of a Normal, the `mean` of a Gamma, a
    Beta or a NegativeBinomial, the `logits` of a Bernoulli, the `log_rate` of a Poisson, the `scale` of a Weibull.
    That parameter, before its link, is

        u_i = x_i' b + offset_i

    for the columns `x_i` that `formulaic` makes of the formula, in R's notation: `y ~ x`, `y ~ a * b`, `y ~ C(group)`,
    `y ~ C(group, contr.sum)`, `y ~ spline(age, 4)` (a B-spline with 4 columns), `y ~ log(x) + offset(log(exposure))`.
    Each other parameter is one number for all rows, or has a formula of its own, given by its name:
    `scale="~ z"`. Positive parameters have the link `exp`, so that their coefficients are those of logarithms.

    Behind it is a Keras model in float64, `result.model`: a dense layer for each parameter under a head. It is solved
    by Newton's method over the linear predictors, and by `fit_lbfgs` where that does not end in a maximum.

    Args:
      formula: "outcome ~ terms". The outcome is a column, an expression such as `log(y)`, or a censored time,
        `Surv(time, event)` with `event` 1 where it was seen; `left_censored(y, observed)` and
        `interval_censored(lower, upper)` are known, too. A column of texts holds class labels.
      data: a pandas `DataFrame`, or a dict of columns. Missing values are an error.
      family: the name or class of a distribution of TFP, or a `Family`, `ZeroInflated`, `Hurdle`, `Censored` and so on
        without `shared`. Class labels are for "Bernoulli", where the second label is 1, "Categorical", where the first
        is the reference, and "OrderedLogistic".
      weights: how often each row counts: the name of a column, or `[n]`.
      offset: what is added to `u`, beside offsets in the formula: the name of a column, or `[n]`.
      cluster: labels of rows that depend on each other: the name of a column, or `[n]`. The covariance is then the
        sandwich with the scores summed over each of the `G` clusters, times `G / (G - 1) * (n - 1) / (n - q)` for `q`
        coefficients, as statsmodels has it.
      covariance: "information" for the inverse of the observed information, or "sandwich", which holds in large samples
        also where the outcomes' distribution is not the family's (HC0).
      parameterization: "mean" for the parameters of `ByMean`, for the families that it has; None for TFP's.
      link: `{parameter: link}`, as for `Family`: the map from `u` to the parameter, which is the inverse of what a GLM
        calls its link: log is "exp", logit "sigmoid", probit "normal_cdf", cloglog "gumbel_min_cdf", loglog
        "gumbel_cdf", inverse "reciprocal", sqrt "square", and the identity of a positive parameter "absolute".
      **parameters: for a parameter by its name a formula "~ terms", or a value at which it is held.

    Returns:
      A `Regression`. Look at its `converged` and `message` first.

    Raises:
      ImportError: without formulaic and pandas: `pip install "nllfit[regression]"`.
      TypeError: if `data` is no table.
      ValueError: for a formula that cannot be read or evaluated, missing values, columns that depend on each other, a
        level without rows, arguments of another length, or outcomes that the family cannot have.

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
    outcome = Outcome.of(left, data)
    formulas = {n: v for n, v in parameters.items() if isinstance(v, str) and "~" in v}
    fixed = {name: value for name, value in parameters.items() if name not in formulas}
    made = family_of(family, outcome, parameterization, link or {}, fixed)
    y, labels = coded(outcome, made)
    counts = None if weights is None else as_weights(weights, data)
    added = None if offset is None else as_numbers("offset", offset, data)
    if isinstance(offset, str):  # as part of the formula it is known for other rows, too
        right, added = f"{right} + offset(`{offset}`)", None
    clusters = None if cluster is None else np.unique(as_column("cluster", cluster, data), return_inverse=True)[1]
    predictors = _predictors(made, dict(formulas), right, data, added, labels)

    designs = [(p.design.matrix, p.total_offset) for p in predictors]
    objective = Objective(made, predictors, designs, y, np.ones(len(y)) if counts is None else counts)
    _check_outcomes(objective, outcome)
    model = build_model(made, predictors)
    coefficients, fault = _fitted(objective, model)
    return Regression(
        formula=", ".join([formula, *(f"{name} {text}" for name, text in formulas.items())]),
        model=model,
        objective=objective,
        outcome=outcome,
        labels=labels,
        coefficients=coefficients,
        clusters=clusters,
        kind=covariance if clusters is None else "cluster",
        fault=fault,
    )


def _check_outcomes(objective, outcome):
    """Raises a `ValueError` for outcomes that the family cannot have, whatever its parameters."""
    try:
        objective.check()
    except ValueError as error:
        held = f"The outcome `{outcome.name}` holds a value"
        raise ValueError(str(error).replace("`y_true` holds an outcome", held)) from None
    infinite = np.isneginf(objective.losses_at(-0.5)) | np.isneginf(objective.losses_at(0.5))
    if infinite.any():
        name = objective.family.name
        raise ValueError(
            f"The outcome `{outcome.name}` holds {objective.y[infinite][0].item()}, where the density of {name} may be "
            f"infinite, so that the likelihood has no maximum: drop such rows, or choose a family that has them, such "
            f'as `family=nllfit.Hurdle("{name}")` for zeros.'
        )


def _start(objective):
    """Coefficients of 0 or, if the likelihood is flat or infinite there, of the outcomes' marginal distribution."""
    zeros = np.zeros(objective.num_coefficients)
    if np.isfinite(objective.value(zeros)) and objective.slopes(zeros).any(0).all():
        return zeros
    numbers = marginal_numbers(objective.family, objective.y, objective.weights)
    found = []
    for predictor, (matrix, offset) in zip(objective.predictors, objective.designs, strict=True):
        for place in predictor.places:
            wanted = np.full(len(matrix), numbers[place]) - (0.0 if offset is None else offset)
            found.append(np.linalg.lstsq(matrix, wanted, rcond=None)[0])
    return np.concatenate(found)


def _fitted(objective, model):
    """The coefficients of maximum likelihood, set in the model, and what is wrong with them, or None."""
    coefficients, is_maximum = maximum(objective, _start(objective))
    if is_maximum:
        set_coefficients(model, objective.predictors, coefficients)
        return coefficients, None
    x = {
        key: value
        for predictor, design in zip(objective.predictors, objective.designs, strict=True)
        for key, value in predictor.inputs(*design).items()
    }
    history = fit_lbfgs(model, x, objective.y, sample_weight=objective.weights)
    coefficients = flat_weights(model)[places_of(model, objective.predictors)]
    if not history.converged:
        return coefficients, history.message
    coefficients, is_maximum = maximum(objective, coefficients)
    set_coefficients(model, objective.predictors, coefficients)
    return coefficients, None if is_maximum else "the likelihood does not fall in all directions from the coefficients"


def _predictors(family, formulas, right, data, offset, labels):
    """The linear predictor of each parameter, that of the formula first."""
    main, found, start = main_parameter(family), [], 0
    for name, size in sizes(family).items():
        is_main, is_constant = name == main, name != main and name not in formulas
        text = right if is_main else _right_side(name, formulas.pop(name, "~ 1"))
        design = Design(text, data, without_intercept=is_main and _CUTPOINTS in family.parameter_names)
        classes = labels if is_of_classes(family, name) else ()
        found.append(Predictor(name, size, start, design, offset if is_main else None, classes, is_constant))
        start += size
    found.sort(key=lambda predictor: predictor.parameter != main)
    if formulas:
        (name, text), *_ = formulas.items()
        others = [p.parameter for p in found if p.parameter != main]
        raise ValueError(
            f"`{name}` is {text!r}, but {family.label} has no parameter `{name}` beside `{main}`, which the formula is "
            f"about: it has {', '.join(others) or 'none'}."
        )
    return found


def _right_side(name, text):
    left, right = sides(text)
    if left:
        raise ValueError(f"`{name}` is {text!r}: give the terms only, such as '~ x'; the outcome is that of `formula`.")
    return right
