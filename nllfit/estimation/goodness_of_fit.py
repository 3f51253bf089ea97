"""Goodness-of-fit tests of a fitted family by the parametric bootstrap."""

import dataclasses

import numpy as np
from tensorflow_probability import distributions as tfd

from nllfit.cdf_and_quantiles import quantile
from nllfit.estimation.bootstrap import draw_samples
from nllfit.estimation.estimates import Estimate
from nllfit.estimation.refits import Refits, refit
from nllfit.families.arguments import as_count
from nllfit.families.wrapped_family import innermost

__all__ = ["GoodnessOfFit", "goodness_of_fit"]

_LEAST_EXPECTED = 5.0  # the smallest expected number of outcomes in a bin
# If the outcomes span more counts than this, only quantiles of the fitted distribution are tried as ends of bins.
# Otherwise all counts are tried.
_MOST_COUNTS = 2**16
# Probabilities and expected counts below this value are replaced by it, so that logarithms and quotients are finite.
_TINY = 1e-300


@dataclasses.dataclass(frozen=True)
class GoodnessOfFit:
    """Distances between a sample and its fitted distribution, with bootstrap p-values.

    Attributes:
      statistics: the distances by name. The names are "kolmogorov_smirnov", "anderson_darling" and "cramer_von_mises",
        or "chi_square" for counts.
      p_values: the p-values by name. A p-value is the probability of a statistic at least as large as the observed one,
        if the family is true.
      label: the label of the family.
      num_samples: the number of samples drawn.
      num_failed: the number of drawn samples without a verified maximum.
    """

    statistics: dict[str, float]
    p_values: dict[str, float]
    label: str
    num_samples: int
    num_failed: int

    def summary(self) -> str:
        """The tests as a text table."""
        failed = f", {self.num_failed} without a maximum" if self.num_failed else ""
        lines = [f"Goodness of fit of {self.label}, by {self.num_samples} samples from it{failed}"]
        lines.append(f"{'':<22}{'statistic':>12}{'p-value':>10}")
        for name, statistic in self.statistics.items():
            lines.append(f"{name.replace('_', '-'):<22}{statistic:>12.5g}{self.p_values[name]:>10.3f}")
        return "\n".join(lines)


def goodness_of_fit(estimate: Estimate, num_samples: int = 999, seed: int = 0) -> GoodnessOfFit:
    """Tests whether the sample could come from the family that was fitted to it.

    The statistics of continuous outcomes use the fitted CDF at the `n` sorted outcomes, `u_i = F(y_(i))`:

        Kolmogorov-Smirnov:  max_i max(i/n - u_i, u_i - (i-1)/n)
        Cramer-von Mises:    1/(12 n) + sum_i ((2 i - 1)/(2 n) - u_i)^2
        Anderson-Darling:    -n - sum_i (2 i - 1)/n (log u_i + log(1 - u_(n+1-i)))

    An angle of a `VonMises` is first moved to within `pi` of the fitted `loc`. The statistic of counts and labels is
    the sum of `(observed - expected)^2 / expected` over bins, each with at least 5 expected outcomes.

    The published tables of these statistics do not apply. The tables assume a distribution that was not fitted to the
    sample, but a fitted distribution is closer to the sample than the true distribution is. The p-value comes from the
    parametric bootstrap instead: samples are drawn from the fitted distribution, and the family is fitted to each of
    these samples. If `b` of `m` drawn samples have a statistic at least as large as the observed one, the p-value is
    `(1 + b) / (1 + m)`. `m` is `num_samples` minus the number of drawn samples without an estimate. For example, a
    sample may have no estimate because all its outcomes are equal.

    Args:
      estimate: a converged `Estimate` of a scalar family. Its weights must be whole numbers, because they are used as
        numbers of repetitions.
      num_samples: the number of samples drawn.
      seed: the seed of the samples, an int >= 0.

    Returns:
      A `GoodnessOfFit`.

    Raises:
      TypeError: if `estimate` is not an `Estimate`.
      ValueError: if one of these is true:
        - The fit did not converge, or its weights are not whole numbers.
        - The outcomes are vectors or intervals, or contain the ends of a window (`Truncated` with "row").
        - The family is a mixture of distributions of angles.
        - The outcomes are continuous except for a probability at 0, such as those of a `Hurdle("Gamma")`.
        - The counts fall into too few bins for the number of parameters.
        - `num_samples` is not an int >= 1, or `seed` is not an int >= 0.
      NotImplementedError: if TFP has no CDF for the family.

    Example:
      >>> y = np.random.default_rng(0).gamma(2.0, 3.0, 200)
      >>> bool(goodness_of_fit(maximum_likelihood("Exponential", y)).p_values["anderson_darling"] < 0.01)
      True

    Source: Stute, Gonzales Manteiga and Presedo Quindimil, Bootstrap based goodness-of-fit-tests, 1993; D'Agostino and
    Stephens, Goodness-of-fit techniques, 1986.
    """
    if not isinstance(estimate, Estimate):
        raise TypeError(f"`estimate` is a {type(estimate).__name__}: give what `maximum_likelihood` returned.")
    as_count("num_samples", num_samples, 1)
    as_count("seed", seed, 0)
    problem = estimate.problem
    if not estimate.converged:
        raise ValueError(f"The fit is not a maximum ({estimate.message}), so there is no distribution to test.")
    # If outcomes are intervals or contain a window, `draw_samples` raises a more specific error.
    if problem.family.event_shape and not problem.family.takes_infinity:
        raise ValueError(
            f"An outcome has shape {problem.family.event_shape}, but the tests need numbers: fit columns separately."
        )
    if problem.family.facts.search.circular and problem.family.component_shape:
        raise ValueError(
            f"{problem.family.label} is a mixture of angles. The CDF of each component starts at a different angle, "
            f"so the mixture has no CDF: test a fit without a mixture."
        )
    if problem.family.measure.points == "0":
        raise ValueError(
            f"{problem.family.label} has a probability at 0. Its estimate equals the share of zeros in every sample, "
            f"so there is nothing to test at 0: test the outcomes above 0 with their own family, such as "
            f"`goodness_of_fit(maximum_likelihood({innermost(problem.family).name!r}, y[y > 0]))`."
        )
    if np.any(problem.weights != np.round(problem.weights)):
        raise ValueError(
            "The fit has weights that are not whole numbers, but the tests count outcomes: fit it without weights."
        )
    y = np.repeat(problem.y, problem.weights.astype(int), axis=0)[None]
    samples = draw_samples(estimate.fit, num_samples, seed)
    refits = refit(estimate.fit, samples, np.ones([1, samples.shape[1]]))
    original = Refits(problem, estimate.optimum.w[None], {0: estimate.fit})
    if problem.family.is_discrete:
        edges = _bin_edges(original, y, estimate.distribution)
        if len(edges) < estimate.num_parameters + 1:
            raise ValueError(
                f"The outcomes fall into {len(edges) + 1} bins with at least {_LEAST_EXPECTED:g} expected outcomes, "
                f"too few for {estimate.num_parameters} parameters: give more observations."
            )
        observed = {"chi_square": _chi_square(original, y, edges)}
        simulated = {"chi_square": _chi_square(refits, samples, edges)}
    else:
        observed, simulated = _cdf_statistics(original, y), _cdf_statistics(refits, samples)
    p_values = {}
    for name, values in simulated.items():
        values = values[~np.isnan(values)]
        p_values[name] = float((1 + np.sum(values >= observed[name][0] * (1 - 1e-9))) / (1 + len(values)))
    statistics = {name: float(values[0]) for name, values in observed.items()}
    return GoodnessOfFit(statistics, p_values, problem.family.label, num_samples, refits.num_failed)


def _cdf_statistics(fits: Refits, y: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the statistics `[b]`, by name, that compare samples `[b, n]` with the CDFs of their fits."""
    below, above = fits.probabilities(y)
    # We do not sort `y`, because `probabilities` moves angles to near `loc`, which changes their order.
    below, above = np.sort(below, 1), np.sort(above, 1)[:, ::-1]
    n = y.shape[1]
    i = np.arange(1, n + 1)
    logs = np.log(np.maximum(below, _TINY)) + np.log(np.maximum(above[:, ::-1], _TINY))
    return {
        "kolmogorov_smirnov": np.maximum(i / n - below, below - (i - 1) / n).max(1),
        "anderson_darling": -n - np.sum((2 * i - 1) / n * logs, 1),
        "cramer_von_mises": 1 / (12 * n) + np.sum(((2 * i - 1) / (2 * n) - below) ** 2, 1),
    }


def _bin_edges(original: Refits, y: np.ndarray, distribution: tfd.Distribution) -> np.ndarray:
    """Returns the upper ends `[k]` of the first `k` bins of counts. The last bin has no upper end.

    Each bin has at least `_LEAST_EXPECTED` expected outcomes. `y` is the original sample, `[1, n]`.
    """
    n = y.shape[1]
    # Above this count, fewer than `_LEAST_EXPECTED` outcomes are expected, so no edge between two bins can be above it.
    # Without this bound, a single very large outcome would make us try many more counts.
    last_edge = float(quantile(distribution, max(1 - _LEAST_EXPECTED / n, 0.5)))
    least, most = y.min(), max(min(y.max(), last_edge), y.min())
    is_wide = most - least >= _MOST_COUNTS
    counts = np.unique(quantile(distribution, np.arange(1, n) / n)) if is_wide else np.arange(least, most + 1)
    below = original.probabilities(counts[None])[0][0] * n
    edges, previous = [], 0.0
    for count, expected_below in zip(counts, below, strict=True):
        if expected_below - previous >= _LEAST_EXPECTED and n - expected_below >= _LEAST_EXPECTED:
            edges.append(count)
            previous = expected_below
    return np.array(edges)


def _chi_square(fits: Refits, y: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Returns the chi-square statistics `[b]` that compare samples `[b, n]` with their fits."""
    n = y.shape[1]
    below = fits.probabilities(edges[None])[0]
    ends = np.zeros([len(below), 1]), np.ones([len(below), 1])
    expected = n * np.diff(np.concatenate([ends[0], below, ends[1]], 1))
    observed = np.stack([np.bincount(row, minlength=len(edges) + 1) for row in np.searchsorted(edges, y)])
    return np.sum((observed - expected) ** 2 / np.maximum(expected, _TINY), 1)
