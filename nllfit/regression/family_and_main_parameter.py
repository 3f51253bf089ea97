"""The family of a regression, and the parameter that the formula describes: the main parameter of the family."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.families import Censored
from nllfit.families.arguments import refuse_with_family
from nllfit.families.by_mean import BY_MEAN, parameterized
from nllfit.families.distribution_names import family_class
from nllfit.families.facts import facts_of
from nllfit.families.family_base import ParametricFamily
from nllfit.families.links import other_names
from nllfit.regression.formula_outcomes import Outcome

__all__ = ["CUTPOINTS", "coded", "family_of", "main_parameter", "natural_values"]

CUTPOINTS = "cutpoints"  # a parameter of families of ordered classes; it replaces the intercept

# The main parameter of a family is the first name in this list that the family has. If the family has
# none of these names, its first parameter is the main parameter.
_MAIN_PARAMETERS = ("mean", "loc", "logits", "log_rate", "rate", "probits", "probs", "scale", "concentration")


def family_of(
    family: Any, outcome: Outcome, parameterization: str | None, link: Mapping[str, str], fixed: Mapping[str, Any]
) -> ParametricFamily:
    """Returns the family of a regression.

    A family object keeps its links and its number of classes. If `family` is a name or a class, the outcomes determine
    the number of classes, and positive parameters have the link `exp` by default. If the outcomes are censored, the
    family is wrapped in `Censored`, unless it is an object whose outcomes already have several columns.
    """
    if not isinstance(link, Mapping):
        raise TypeError(f"`link` is {link!r}: give the name of its parameter too, such as `link={{'mean': 'exp'}}`.")
    if isinstance(family, ParametricFamily):
        refuse_with_family({**link, **fixed})
        return Censored(family) if outcome.is_censored and not family.columns else family
    cls = family_class(family, "family")
    options = dict(fixed)
    if facts_of(cls).class_axis is not None:
        options.setdefault("num_classes", len(outcome.labels or ()) or len(np.unique(outcome.values)))
    elif outcome.labels is not None and len(outcome.labels) > 2:
        raise ValueError(
            f"The outcome `{outcome.name}` has {len(outcome.labels)} labels, but {cls.__name__} takes numbers: give "
            f'`family="Categorical"`, "OrderedLogistic", or a column of numbers.'
        )
    event_shape = () if outcome.is_censored or "num_classes" in options else (1,)
    by_mean = parameterization if cls in BY_MEAN else None
    positive = parameterized(cls, event_shape, by_mean, **options).positive
    links = {name: "exp" for name in positive if other_names(name).isdisjoint(link)} | dict(link)
    result = parameterized(cls, event_shape, by_mean, link=links, **options)
    return Censored(result) if outcome.is_censored else result


def main_parameter(family: ParametricFamily) -> str:
    """Returns the name of the parameter that the formula describes, such as "mean" or "loc"."""
    names = family.parameter_names
    return next((name for name in _MAIN_PARAMETERS if name in names), names[0])


def coded(outcome: Outcome, family: ParametricFamily) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the outcomes `[n, *event]` that the family expects, and the labels of its classes.

    The tuple of labels is empty if the family has no argument `num_classes`.
    """
    values, labels = outcome.values, outcome.labels
    if CUTPOINTS in family.parameter_names and not outcome.has_order:
        raise ValueError(
            f"The labels of the outcome `{outcome.name}` have no order, and {family.label} needs one: give numbers, or "
            f"`pd.Categorical(..., categories=[...], ordered=True)` with the labels from low to high."
        )
    if family.num_classes and labels is None:
        levels, values = np.unique(values, return_inverse=True)
        labels = tuple(np.format_float_positional(level, trim="-") for level in levels)
    if family.num_classes and len(labels or ()) != family.num_classes:
        raise ValueError(
            f"The outcome `{outcome.name}` has {len(labels or ())} labels, but {family.label} has "
            f"{family.num_classes} classes: each class needs a row, so give the number of labels as `num_classes`."
        )
    shape = [len(values), *family.event_shape]
    if np.prod(shape) != values.size:
        raise ValueError(
            f"The outcome `{outcome.name}` is of shape {values.shape}, but {family.label} has outcomes of shape "
            f"{family.event_shape}: give `Surv(time, event)` for censored outcomes, or a column."
        )
    return np.reshape(values, shape).astype(np.float64), labels if family.num_classes and labels else ()


def natural_values(family: ParametricFamily, vector: Any) -> dict[str, tf.Tensor]:
    """Converts an unconstrained vector `[params_size]` to values of the reported parameters: `rate`, not `log_rate`.

    Returns the values by name.
    """
    values = family.parameters(vector)
    return family.natural({name: values[name] for name in family.parameter_names})
