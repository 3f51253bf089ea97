"""Several families fitted to one sample, and ranked."""

import dataclasses

from nllfit.estimation import maximum_likelihood
from nllfit.problem import as_sample

__all__ = ["Comparison", "compare"]


def compare(y, distributions, *, weights=None):
    """Fits several families to one sample and ranks them by AIC.

    Args:
      y: the sample, `[n, *event]`.
      distributions: classes of `tfp.distributions` or their names, `Family`s or `MixtureFamily`s; at least one. Compare
        counts with counts and amounts with amounts: a density is no probability.
      weights: as in `maximum_likelihood`.

    Returns:
      A `Comparison`. A family that cannot have produced the sample is no error here, but listed with the reason.

    Raises:
      ValueError: if `distributions` is empty, `y` or `weights` are no sample, or no family can be fitted to it.

    Example:
      >>> [estimate.family.name for estimate in compare([1.0, 2.0, 4.0, 3.0], ["Normal", "Exponential"]).estimates]
      ['Normal', 'Exponential']

    Source: Akaike, A new look at the statistical model identification, 1974.
    """
    if isinstance(distributions, str):
        raise ValueError(f"`distributions` is {distributions!r}: give a list of them.")
    as_sample(y, weights)
    estimates, refused = [], {}
    for distribution in distributions:
        try:
            estimates.append(maximum_likelihood(distribution, y, weights=weights))
        except ValueError as error:
            refused[getattr(distribution, "name", None) or getattr(distribution, "__name__", distribution)] = str(error)
    if not estimates:
        reasons = " ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise ValueError(f"None of the `distributions` can be fitted to `y`. {reasons}".strip())
    return Comparison(sorted(estimates, key=lambda e: (not e.converged, e.aic)), refused)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Families fitted to one sample, ranked by AIC.

    Attributes:
      estimates: the `Estimate`s, the smallest AIC first; those that did not converge come last.
      refused: why a family could not be fitted, by its name.
    """

    estimates: list
    refused: dict

    def summary(self):
        """The ranking as a table of text; `dAIC` is the distance from the best family's AIC."""
        lines = [f"{'family':<26}{'log L':>15}{'k':>4}{'AIC':>15}{'dAIC':>11}{'BIC':>15}"]
        for e in self.estimates:
            numbers = f"{e.log_likelihood:>15.4f}{e.num_parameters:>4}{e.aic:>15.4f}"
            numbers += f"{e.aic - self.estimates[0].aic:>11.4f}{e.bic:>15.4f}"
            lines.append(f"{e.family.name:<26}{numbers}{'' if e.converged else '  ' + e.message}")
        return "\n".join([*lines, *(f"{name:<26}not fitted: {reason}" for name, reason in self.refused.items())])
