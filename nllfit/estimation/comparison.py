"""Comparison of several families fitted to one sample, ranked by AIC."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nllfit.estimation.estimates import Estimate, maximum_likelihood
from nllfit.estimation.samples import as_sample, check_censored
from nllfit.families.arguments import as_array
from nllfit.families.distribution_names import family_class
from nllfit.families.family_base import Measure, ParametricFamily
from nllfit.families.wrapped_family import as_family

__all__ = ["Comparison", "compare"]

# The value of `Measure.columns` for a family whose outcomes are plain numbers or vectors. Such outcomes are not
# intervals and do not come with a truncation window.
_NUMBER = Measure().columns


def compare(y: ArrayLike, distributions: Iterable[Any], *, weights: ArrayLike | None = None) -> "Comparison":
    """Fits several families to one sample and ranks them by AIC.

    The likelihoods of all families must be of one kind: probabilities, densities, or densities with a probability at 0
    (a `ZeroInflated` or `Hurdle` of a continuous family). AICs of different kinds cannot be compared, because a change
    of the unit of `y` shifts an AIC of densities, but not an AIC of probabilities. If `y` has columns, a column must
    have the same meaning, such as the lower end of an interval, in all families.

    Args:
      y: the sample, `[n, *event]`.
      distributions: a list of families: classes of `tfp.distributions`, their names, or family objects, such as
        `Family`, `MixtureFamily` or `Censored`. Use an object if the family needs an argument: `Family("Binomial",
        total_count=10)`, `Family("Categorical", num_classes=3)`.
      weights: as in `maximum_likelihood`.

    Returns:
      A `Comparison`. A family that cannot produce the sample raises no error: `Comparison.refused` has the reason. If
      the outcomes of one family are intervals, or come with a truncation window for each row, `refused` also lists
      every family whose outcomes are plain numbers or vectors.

    Raises:
      ValueError: before any fit, if one of these is true:
        - `distributions` is empty, is not a list, or contains an object that is not a family.
        - The likelihoods of the families are of different kinds.
        - `y` or `weights` are invalid.
      ValueError: after the fits, if every family failed.

    Example:
      >>> [estimate.family.name for estimate in compare([1.0, 2.0, 4.0, 3.0], ["Normal", "Exponential"]).estimates]
      ['Normal', 'Exponential']

    Source: Akaike, A new look at the statistical model identification, 1974.
    """
    families = _as_families(distributions, y)
    interval_labels = [family.label for family in families if family.takes_infinity]
    as_sample(y, weights, bool(interval_labels))
    estimates, refused = [], {}
    for family in families:
        if interval_labels and not family.takes_infinity:
            refused[family.label] = (
                f"its outcomes are numbers, but those of {interval_labels[0]} are intervals or come with a window: "
                f"wrap it in the same way, such as `nllfit.Censored(family)`."
            )
            continue
        try:
            estimates.append(maximum_likelihood(family, y, weights=weights))
        except ValueError as error:
            refused[family.label] = str(error)
    if not estimates:
        reasons = " ".join(f"{label}: {reason}" for label, reason in refused.items())
        raise ValueError(f"None of the `distributions` can be fitted to `y`. {reasons}")
    return Comparison(sorted(estimates, key=lambda e: (not e.converged, e.aic)), refused)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Families fitted to one sample, ranked by AIC.

    Attributes:
      estimates: the `Estimate`s in order of increasing AIC; fits that did not converge come last.
      refused: a dict that maps the label of each family that could not be fitted, such as `Gamma(rate=1.0)`, to the
        reason.
    """

    estimates: list[Estimate]
    refused: dict[str, str]

    def summary(self) -> str:
        """Returns the ranking as a text table. `dAIC` is the difference from the smallest AIC of a converged fit."""
        labels = [*(e.family.label for e in self.estimates), *self.refused]
        width = max(24, *map(len, labels)) + 2
        best = self.estimates[0].aic if self.estimates[0].converged else math.nan
        lines = [f"{'family':<{width}}{'log L':>15}{'k':>4}{'AIC':>15}{'dAIC':>11}{'BIC':>15}"]
        for e in self.estimates:
            numbers = f"{e.log_likelihood:>15.4f}{e.num_parameters:>4}{e.aic:>15.4f}{e.aic - best:>11.4f}{e.bic:>15.4f}"
            lines.append(f"{e.family.label:<{width}}{numbers}{'' if e.converged else '  ' + e.message}")
        return "\n".join([*lines, *(f"{label:<{width}}not fitted: {reason}" for label, reason in self.refused.items())])


def _as_families(distributions: Iterable[Any], y: ArrayLike) -> list[ParametricFamily]:
    if isinstance(distributions, str) or not np.iterable(distributions):
        raise ValueError(f"`distributions` is {distributions!r}: give a list of families.")
    families, event_shape = [], as_array(y).shape[1:]
    for distribution in distributions:
        check_censored(distribution, y)
        families.append(_family_of(distribution, event_shape))
    if not families:
        raise ValueError("`distributions` is empty: give at least one family.")
    _check_comparable([family for family in families if family.event_shape == event_shape])
    return families


def _check_comparable(families: list[ParametricFamily]) -> None:
    """Raises a `ValueError` if the families' likelihoods are densities with respect to different measures."""
    has_columns = any(family.measure.columns != _NUMBER for family in families)
    labels: dict[Measure, list[str]] = {}
    for family in families:
        # If the outcomes of one family are intervals or come with a window, `compare` refuses every family whose
        # outcomes are plain numbers or vectors. So the kind of likelihood of the refused families does not matter.
        if not has_columns or family.measure.columns != _NUMBER:
            labels.setdefault(family.measure, []).append(family.label)
    if len(labels) > 1:
        kinds = ", and ".join(
            f"{'discrete families' if measure.points == 'all' else 'continuous ones'} ({', '.join(labels[measure])}), "
            f"which give {measure}"
            for measure in sorted(labels, key=lambda measure: measure.points != "all")
        )
        raise ValueError(
            f"`distributions` mixes {kinds}, so their AICs cannot be compared: their difference changes with the unit "
            f"of `y`. Compare each kind separately."
        )


def _family_of(distribution: Any, event_shape: tuple[int, ...]) -> ParametricFamily:
    family = distribution if isinstance(distribution, ParametricFamily) else family_class(distribution)
    try:
        return as_family(family, event_shape)
    except ValueError as error:
        name = getattr(family, "__name__", family)
        raise ValueError(
            f"`distributions` holds {name}: {error} Give arguments of a family in a `Family`, such as "
            f'`Family("Binomial", total_count=10)` or `Family("Categorical", num_classes=3)`.'
        ) from None
