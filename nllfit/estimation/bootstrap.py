"""The bootstrap: how estimates vary over samples that are drawn from the data or from the fitted distribution."""

import dataclasses

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.estimation.delta_method import Fit
from nllfit.estimation.refits import refit, scores
from nllfit.estimation.samples import counted
from nllfit.families.arguments import as_count
from nllfit.families.parameters import Numbers
from nllfit.information_criteria import check_level
from nllfit.optimum.newton import standard_axes

__all__ = ["Bootstrap", "bootstrap", "draw_samples", "table_of"]

_KINDS = ("nonparametric", "parametric")


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """The estimates from many bootstrap samples.

    Attributes:
      kind: "nonparametric" if the samples were drawn with replacement from the data, "parametric" if they were drawn
        from the fitted distribution.
      estimates: the estimates from the original sample, by name.
      parameters: the estimates from the bootstrap samples by name, `[num_samples, *parameter]`. They are NaN if a
        sample has no estimate, for example because all its outcomes are equal. If the search in a sample did not
        converge, they are the values at which the search ended.
      num_failed: the number of bootstrap samples without a verified maximum.
      fit: the fit of the original sample.
    """

    kind: str
    estimates: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray]
    num_failed: int
    fit: Fit = dataclasses.field(repr=False)

    @property
    def num_samples(self) -> int:
        """The number of bootstrap samples."""
        return len(next(iter(self.parameters.values())))

    @property
    def standard_errors(self) -> dict[str, np.ndarray]:
        """The standard deviation of each estimate over the bootstrap samples, by name."""
        return {name: np.nanstd(values, axis=0, ddof=1) for name, values in self.parameters.items()}

    def confidence_intervals(self, level: float = 0.95, method: str = "percentile") -> dict[str, np.ndarray]:
        """Intervals that cover the true parameters with probability `level`, in large samples.

        The ends of an interval are quantiles of the estimates from the bootstrap samples.

        "percentile" uses the quantiles at `(1 - level) / 2` and `(1 + level) / 2`. "bca" (bias-corrected and
        accelerated, only for nonparametric samples) corrects these levels for the median bias of the estimate and for a
        standard error that changes with the parameter. With `n` observations the error in the coverage of a one-sided
        interval is of order `1 / n` for "bca" and `1 / sqrt(n)` for "percentile".

        Args:
          level: between 0 and 1.
          method: "percentile" or "bca".

        Returns:
          A dict of arrays `[*parameter, 2]` by name: the lower and the upper end. The ends are NaN if no bootstrap
          sample has an estimate.

        Raises:
          ValueError: if `level` or `method` is invalid. With "bca", also if the samples are parametric, the likelihood
            is not smooth, or the original fit did not converge.

        Source: Efron, Better bootstrap confidence intervals, 1987.
        """
        check_level(level)
        if method not in ("percentile", "bca"):
            raise ValueError(f'`method` is {method!r}: give "percentile" or "bca".')
        levels = np.array([(1 - level) / 2, (1 + level) / 2])
        accelerations = self._accelerations() if method == "bca" else {}
        intervals = {}
        for name, values in self.parameters.items():
            columns = values.reshape(len(values), -1)
            flat_estimates = np.ravel(self.estimates[name])
            ends = []
            for column, value, place in zip(columns.T, flat_estimates, range(len(flat_estimates)), strict=True):
                end_levels = levels
                if accelerations:
                    end_levels = _bca_levels(levels, column, value, accelerations[name][place])
                ends.append(np.nanquantile(column, end_levels))
            intervals[name] = np.reshape(ends, [*values.shape[1:], 2])
        return intervals

    def summary(self, level: float = 0.95) -> str:
        """A text table: the estimates with their bootstrap standard errors and percentile intervals."""
        heading = f"{self.kind} bootstrap, {self.num_samples} samples, {self.num_failed} without a maximum"
        table = table_of(self.estimates, self.standard_errors, self.confidence_intervals(level), level)
        return "\n".join([heading, *table])

    def _accelerations(self):
        """Returns the accelerations of the estimates, a dict of arrays `[size]` by name.

        An acceleration is `sum_i U_i^3 / (6 (sum_i U_i^2)^(3/2))`, where `U_i` is the influence of observation `i` on
        the estimate.
        """
        problem, optimum = self.fit.problem, self.fit.optimum
        if self.kind == "parametric":
            raise ValueError('`method="bca"` is for nonparametric samples: give `kind="nonparametric"` to `bootstrap`.')
        if problem.held or not optimum.converged:
            raise ValueError('`method="bca"` needs a smooth likelihood with a maximum: give "percentile".')
        influences = scores(problem, optimum.w) @ standard_axes(optimum) @ self.fit.natural_errors[:, : optimum.rank].T
        weights = problem.weights[:, None]
        cubes, squares = (np.sum(weights * influences**power, 0) for power in (3, 2))
        skewness = cubes / np.where(squares > 0, squares, 1.0) ** 1.5
        sizes = [np.size(value) for value in self.estimates.values()]
        return dict(zip(self.parameters, np.split(skewness / 6, np.cumsum(sizes)[:-1]), strict=True))


def bootstrap(fit: Fit, num_samples: int, seed: int, kind: str) -> Bootstrap:
    """The implementation of `Estimate.bootstrap`."""
    as_count("num_samples", num_samples, 2)
    as_count("seed", seed, 0)
    if kind not in _KINDS:
        raise ValueError(f'`kind` is {kind!r}: give "nonparametric" or "parametric".')
    size = round(fit.problem.weights.sum())
    if size < 2:
        raise ValueError(
            f"The weights of the fit sum to {fit.problem.weights.sum():.4g}. A bootstrap sample has this number of "
            f"observations, and at least 2 are needed: fit with `weights` that are numbers of repetitions."
        )
    if kind == "parametric":
        samples = draw_samples(fit, num_samples, seed)
        refits = refit(fit, samples, np.ones([1, samples.shape[1]]))
    else:
        y, weights = fit.problem.y, fit.problem.weights
        if fit.problem.family.is_discrete:
            y, weights = counted(y, weights)
        times = np.random.default_rng(seed).multinomial(size, weights / weights.sum(), num_samples)
        refits = refit(fit, y[None], times.astype(np.float64))
    return Bootstrap(kind, fit.natural, refits.parameters(), refits.num_failed, fit)


def table_of(values: Numbers, errors: Numbers, intervals: Numbers, level: float) -> list[str]:
    """Returns the lines of a table of estimates with their standard errors and intervals.

    The first line is the header.
    """
    ends = [f"[{(1 - level) / 2:.4g}", f"{(1 + level) / 2:.4g}]"]
    lines = [f"{'':<26}{'estimate':>13}{'std err':>13}{ends[0]:>13}{ends[1]:>13}"]
    for name, value in values.items():
        for index in np.ndindex(np.shape(value)):
            label = f"{name}[{', '.join(map(str, index))}]" if index else name
            cells = np.asarray(value)[index], np.asarray(errors[name])[index], *intervals[name][index]
            lines.append(f"{label:<26}" + "".join(f"{cell:>13.5g}" for cell in cells))
    return lines


def draw_samples(fit: Fit, num_samples: int, seed: int) -> np.ndarray:
    """Draws samples from a fitted distribution, `[num_samples, n, *event]`. `n` is the rounded sum of the weights."""
    family = fit.problem.family
    if family.takes_infinity:
        raise ValueError(
            f"Samples cannot be drawn from the fit: an outcome of {family.name} is an interval or comes with a window, "
            f"and the fit does not know which interval or window a new outcome would have. Resample the data by "
            f'`estimate.bootstrap(kind="nonparametric")`, or judge the fit by `plots.survival_curve`.'
        )
    shape = [num_samples, round(fit.problem.weights.sum())]
    high, low = divmod(seed, 2**31)  # TensorFlow's seed is a pair of int32
    samples = fit.distribution.sample(shape, seed=tf.constant([low, high % 2**31], tf.int32))
    return np.asarray(samples, np.float64)


def _bca_levels(levels, values, estimate, acceleration):
    """Returns the two corrected levels, `[2]`, at which the quantiles of `values` are the ends of a BCa interval."""
    normal = tfd.Normal(tf.constant(0.0, tf.float64), 1.0)
    values = values[~np.isnan(values)]
    if not len(values):
        return levels
    smallest_share = 0.5 / len(values)
    share_below = np.clip(
        (np.mean(values < estimate) + np.mean(values <= estimate)) / 2, smallest_share, 1 - smallest_share
    )
    bias, z = normal.quantile(share_below), normal.quantile(levels)
    return normal.cdf(bias + (bias + z) / (1 - acceleration * (bias + z))).numpy()
