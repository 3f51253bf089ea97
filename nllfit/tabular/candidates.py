"""Lists the distributions that `DistributionRegressor` tries, and creates the `Target` of each (see `targets`)."""

from typing import Any

import numpy as np

from nllfit import families
from nllfit.families import Censored, Family, MixtureFamily, ZeroInflated
from nllfit.families.distribution_names import family_class
from nllfit.families.facts import facts_of
from nllfit.families.wrapped_family import as_family
from nllfit.tabular.class_and_value_target import Classes
from nllfit.tabular.histogram_target import Histogram
from nllfit.tabular.standardised_target import LocationScale, is_location_scale
from nllfit.tabular.table_rows import Rows, Stream
from nllfit.tabular.targets import Target, has_few_values
from nllfit.tabular.unscaled_target import OwnUnit

__all__ = ["HISTOGRAM", "MIXTURE", "VALUES", "checked_names", "default", "plausible", "target_of", "values_of"]

HISTOGRAM, MIXTURE, VALUES = "Histogram", "Mixture", "Values"
_COMPONENTS = 5  # the number of Normals in a "Mixture"
_FLOOR = {"scale": 1e-3}  # the minimum scale of location-scale families, in standard deviations of the outcomes


def checked_names(distribution: Any) -> list[Any]:
    """Returns the distributions to try as a list. Raises a `ValueError` if there are none."""
    names = list(distribution) if isinstance(distribution, list | tuple) else [distribution]
    if not names:
        raise ValueError("`distribution` is empty: give at least one name, such as 'Normal'.")
    return names


def default(rows: Rows) -> list[Any]:
    """Returns the distributions to try if the user gave none."""
    is_one_number = rows.y.shape[1] == 1
    return ["Normal", HISTOGRAM] if is_one_number else ["Normal"]


def plausible(rows: Rows, stream: Stream | None = None) -> list[Any]:
    """Returns the distributions to try if the user gave "auto". Their supports contain the outcomes.

    If `rows` are a sample of a stream, the whole stream is read. The final networks are trained on all rows, so a
    support must also contain the outcomes that are not in the sample.
    """
    y = rows.numbers()
    candidates: list[Any] = ["Normal", MIXTURE]
    if y.shape[1] > 1:
        return candidates
    y = np.concatenate([y, *(_extremes(part.numbers()) for part in stream or ())])
    if rows.is_censored:
        return ["Weibull", "LogNormal"] if y.min() > 0 else candidates
    candidates.append(HISTOGRAM)
    are_counts = y.min() >= 0 and np.all(y == np.round(y))
    if has_few_values(y):
        candidates.append(VALUES)
    elif y.min() > 0:
        candidates += ["Gamma", "LogNormal"]
        if y.max() < 1:
            candidates.append("Beta")
    elif y.min() == 0 and not are_counts:
        candidates.append(ZeroInflated("Gamma", event_shape=1))
    return [*candidates, "NegativeBinomial"] if are_counts else candidates


def _extremes(y):
    """Returns three of the outcomes `[n, 1]`: the smallest, the largest, and the first that is not an integer.

    If all outcomes are integers, `y[0]` is returned in place of the third. `plausible` reads all parts of a stream, but
    it needs only these three outcomes of each part.
    """
    return np.stack([y.min(axis=0), y.max(axis=0), y[np.argmax(y != np.round(y))]])


def values_of(distributions: list[Any], rows: Rows, stream: Stream | None) -> np.ndarray | None:
    """Returns the sorted distinct outcomes of a training set, or None if `"Values"` is not among the distributions.

    If `rows` are a sample of a stream, the whole stream is read. The final networks are trained on all rows, so
    `"Values"` must have a probability for each outcome.
    """
    if VALUES not in distributions:
        return None
    parts = [rows] if stream is None else stream
    return np.unique(np.concatenate([np.unique(part.y) for part in parts]))


def target_of(distribution: Any, rows: Rows, values: np.ndarray | None = None, has_few: bool | None = None) -> Target:
    """Returns the target for a distribution. The outcomes of the rows determine its scales and intervals.

    Args:
      distribution: a name or a family.
      rows: the rows to train on: all rows, a sample of them, or the training rows of a fold.
      values: the outcomes to which `"Values"` gives a probability: the sorted distinct outcomes of all rows. None for
        the outcomes of `rows`.
      has_few: whether a `"Histogram"` has one interval for each value; None if this depends on the outcomes of `rows`.

    Raises:
      ValueError: if TFP has no such distribution; or if the family has class labels, shared parameters, or outcomes
        of another shape than the rows.
    """
    if isinstance(distribution, str) and distribution in (VALUES, HISTOGRAM):
        if rows.y.shape[1] > 1:
            raise ValueError(f"{distribution!r} is a distribution of one observed number: give another `distribution`.")
        if distribution == HISTOGRAM:
            return Histogram(rows.y, rows.weights, has_few_values(rows.y) if has_few is None else has_few)
        return Classes.of_values(rows.y, rows.weights, values)
    if isinstance(distribution, Censored):
        distribution = distribution.family
        if distribution.event_shape:
            raise ValueError(
                f"`distribution` has `event_shape={distribution.event_shape}`, but each pair of `y` `[n, 2]` is one "
                f"outcome: leave `event_shape` out."
            )
    shape = () if rows.is_censored else rows.y.shape[1:]
    if isinstance(distribution, str):
        family, is_standardised = _named(distribution, shape)
        _check(family, rows)
    else:
        family = as_family(distribution, shape)
        _check(family, rows)
        # A fixed value or a lower bound of `loc` or `scale` is in the unit of the outcomes. Standardised outcomes would
        # have another unit.
        constrained = {"loc", "scale"} & {*family.fixed, *family.floor}
        is_standardised = not constrained and is_location_scale(family)
    if is_standardised:
        return LocationScale(family, rows)
    return OwnUnit(family, rows)


def _named(name, shape):
    """Returns the family called `name`, and whether it is a location-scale family.

    A location-scale family gets the minimum scale `_FLOOR`. In other families, positive parameters get the link `exp`.
    """
    if name == MIXTURE:
        return MixtureFamily("Normal", _COMPONENTS, shape, floor=_FLOOR), True
    if name in families.__all__:
        raise ValueError(
            f"`distribution` is {name!r}, which modifies or combines a family: give the object, such as "
            f"`nllfit.ZeroInflated('Poisson', event_shape=1)`."
        )
    if facts_of(family_class(name)).class_axis:
        raise _of_labels(name)
    family = Family(name, shape)
    if is_location_scale(family):
        return Family(name, shape, floor=_FLOOR), True
    return Family(name, shape, link={name: "exp" for name in family.positive}), False


def _check(family, rows):
    if family.shared:
        raise ValueError(
            f"`distribution` shares {', '.join(family.shared)}, but an ensemble has several networks: leave `shared` "
            f"out, or hold the parameter at a value."
        )
    if family.num_classes:
        raise _of_labels(family.name)
    num_outcomes = rows.numbers().shape[1]
    if int(np.prod(family.event_shape)) != num_outcomes:
        raise ValueError(
            f"`distribution` has outcomes of shape {family.event_shape}, but `y` has outcomes of shape "
            f"({num_outcomes},): give its name, or a family of `event_shape={num_outcomes}`."
        )


def _of_labels(name):
    return ValueError(f"`distribution` is {name}, of class labels: use a `DistributionClassifier`.")
