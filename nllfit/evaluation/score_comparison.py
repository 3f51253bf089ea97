"""`compare_scores` tests whether one model is significantly better than another."""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.cdf_and_quantiles import survival
from nllfit.evaluation.evaluations import Evaluation

__all__ = ["ScoreComparison", "ScoreDifference", "compare_scores"]


def compare_scores(a: Evaluation, b: Evaluation) -> "ScoreComparison":
    """Compares the scores of two models that were evaluated on the same rows.

    Rows that are hard for one model are mostly also hard for the other. So the differences of the rows, `d_i =
    score_i(a) - score_i(b)`, vary less than the scores. The standard error of the mean difference is
    `std(d) / sqrt(n)`. The p-value is that of a paired t-test.

    Args:
      a, b: the `Evaluation` of each model, for the same outcomes in the same order.

    Returns:
      A `ScoreComparison` of the scores that both evaluations have.

    Raises:
      TypeError: if an argument is not an `Evaluation`.
      ValueError: if the outcomes differ, or one model predicts classes and the other numbers.

    Example:
      >>> y = [-1.0, 0.0, 1.0, 0.5]
      >>> a, b = (evaluate(tfd.Normal(tf.fill([4], loc), 1.0), y=y) for loc in (0.0, 3.0))
      >>> compare_scores(a, b)["nll"].better
      'a'

    Source: Diebold and Mariano, Comparing predictive accuracy, 1995.
    """
    for name, evaluation in (("a", a), ("b", b)):
        if not isinstance(evaluation, Evaluation):
            raise TypeError(f"`{name}` is a {type(evaluation).__name__}: give what `evaluate` returns for a model.")
    # A model in float32 rounds the outcomes, so they are compared in the lower of the two precisions.
    floats = [e.y.dtype for e in (a, b) if e.y.dtype.kind == "f"]
    dtype = min(floats, key=lambda dtype: dtype.itemsize, default=None)
    if not np.array_equal(a.y.astype(dtype), b.y.astype(dtype)):
        raise ValueError(
            f"`a` and `b` are evaluations of different outcomes, of shapes {a.y.shape} and {b.y.shape}: evaluate both "
            f"models on the same rows in the same order."
        )
    if (a.probabilities is None) != (b.probabilities is None):
        raise ValueError(
            "One of `a` and `b` evaluates class probabilities and the other a distribution of numbers, so their "
            "likelihoods cannot be compared: give two evaluations of the same kind."
        )
    shared = [name for name in a.scores if name in b.scores]
    with np.errstate(invalid="ignore"):  # the difference of two infinite scores is NaN
        return ScoreComparison({name: _paired(a.scores[name] - b.scores[name]) for name in shared})


@dataclasses.dataclass(frozen=True)
class ScoreDifference:
    """The mean of `score(a) - score(b)` over the rows, and its standard error.

    Attributes:
      difference: the mean difference; it is negative if `a` is better.
      standard_error: the standard error of the difference.
      p_value: the probability of a difference at least as large, in either direction, between equally good models.
    """

    difference: float
    standard_error: float
    p_value: float

    @property
    def better(self) -> str | None:
        """The better model, `"a"` or `"b"`; None if the p-value is above 0.05 or NaN."""
        if not self.p_value <= 0.05:  # the p-value is NaN if a score is infinite
            return None
        return "a" if self.difference < 0 else "b"


class ScoreComparison(dict[str, ScoreDifference]):
    """A dict of `ScoreDifference`s. Its keys are names of scores, as in `Evaluation.scores`."""

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Returns values for JSON: for each score a dict of difference, standard error, p-value and better model."""
        return {name: dataclasses.asdict(row) | {"better": row.better} for name, row in self.items()}

    def summary(self) -> str:
        """Returns the differences and the better model as a table of text."""
        lines = [f"{'score':<22}{'a - b':>12}{'std. error':>12}{'p-value':>10}  better"]
        for name, row in self.items():
            numbers = f"{row.difference:>12.5g}{row.standard_error:>12.2g}{row.p_value:>10.2g}"
            lines.append(f"{name:<22}{numbers}  {row.better or 'no significant difference'}")
        return "\n".join(lines)


def _paired(differences):
    n, mean = len(differences), float(np.mean(differences))
    error = float(np.std(differences, ddof=1)) / math.sqrt(n)
    if error == 0:
        return ScoreDifference(mean, error, 0.0 if mean else 1.0)
    student = tfd.StudentT(tf.constant(n - 1.0, tf.float64), 0.0, 1.0)
    return ScoreDifference(mean, error, float(2 * survival(student, abs(mean / error))))
