"""Scores of each class: likelihood, ROC curve, precision and confusion matrix."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from nllfit.evaluation.evaluations import Evaluation

__all__ = ["ClassScores", "class_scores"]


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """Scores of `k` classes. Each class is compared with all others together.

    `auc` and `average_precision` are NaN for a class to which all rows or no rows belong. `nll` is NaN for a class to
    which no rows belong. If an outcome has several elements, or a row has several steps, each element or step counts
    as a row.

    Attributes:
      names: the names of the classes, `[k]`.
      counts: the number of rows of each class, `[k]`.
      nll: the mean negative log-likelihood of the rows of each class, in nats, `[k]`.
      auc: the area under the ROC curve, `[k]`. It estimates the probability that a random row of the class has a
        higher predicted probability of the class than a random row of another class. Ties count half. For
        uninformative predictions it is 0.5.
      average_precision: the mean precision, weighted by the increase in recall at each threshold, `[k]`. For
        uninformative predictions it is the share of the class.
      confusion: the confusion matrix `[k, k]`: the number of rows for each true class (first axis) and predicted class.
    """

    names: tuple[str, ...]
    counts: np.ndarray
    nll: np.ndarray
    auc: np.ndarray
    average_precision: np.ndarray
    confusion: np.ndarray

    def summary(self) -> str:
        """Returns the scores and the confusion matrix as text tables."""
        width = max(11, *(len(name) + 2 for name in self.names))
        lines = [f"{'class':<{width}}{'rows':>8}{'NLL (nats)':>12}{'AUC':>8}{'avg. precision':>16}"]
        for row in zip(self.names, self.counts, self.nll, self.auc, self.average_precision, strict=True):
            name, count, nll, auc, precision = row
            lines.append(f"{name:<{width}}{count:>8}{nll:>12.4f}{auc:>8.4f}{precision:>16.4f}")
        lines += ["", f"{'is / taken for':<{max(width, 16)}}" + "".join(f"{name:>{width}}" for name in self.names)]
        for name, counts in zip(self.names, self.confusion, strict=True):
            lines.append(f"{name:<{max(width, 16)}}" + "".join(f"{count:>{width}}" for count in counts))
        return "\n".join(lines)


def class_scores(evaluation: Evaluation, names: Sequence[str] | None = None) -> ClassScores:
    """Computes the scores of each class from an evaluation of a classifier.

    Args:
      evaluation: the result of `evaluate` for a model of class labels, of one-hot rows, or of outcomes 0 and 1.
      names: the names of the classes, `[k]`, in the order of their labels; by default the labels.

    Returns:
      A `ClassScores`.

    Raises:
      ValueError: if the outcomes are not classes, or `names` does not have one name for each class.

    Example:
      >>> found = class_scores(evaluate(tfd.Categorical(logits=[[1.0, 0.0], [0.0, 1.0]]), y=[0, 1]), ["cat", "dog"])
      >>> found.auc, found.confusion.tolist()
      (array([1., 1.]), [[1, 0], [0, 1]])

    Source: Fawcett, An introduction to ROC analysis, 2006.
    """
    if evaluation.probabilities is None:
        raise ValueError("`evaluation` is of outcomes that are not classes: give the evaluation of a classifier.")
    size = evaluation.probabilities.shape[-1]
    names = tuple(map(str, range(size) if names is None else names))
    if len(names) != size:
        raise ValueError(f"`names` has {len(names)} names, but there are {size} classes: give one for each.")
    probabilities = evaluation.probabilities.reshape([-1, size])
    labels = evaluation.y.argmax(-1) if evaluation.y.shape == evaluation.probabilities.shape else evaluation.y
    labels = np.ravel(labels).astype(int)
    is_member = labels[:, None] == np.arange(size)
    losses = evaluation.scores["nll"]
    with np.errstate(divide="ignore", invalid="ignore"):
        if len(losses) != len(labels):  # `nll` sums over a row's elements; here each element counts
            losses = -np.log(probabilities[np.arange(len(labels)), labels])
        nll = np.bincount(labels, losses, size) / is_member.sum(0)
    area, precision = np.array([_auc_and_precision(is_member[:, k], probabilities[:, k]) for k in range(size)]).T
    confusion = np.zeros([size, size], int)
    np.add.at(confusion, (labels, probabilities.argmax(1)), 1)
    return ClassScores(names, is_member.sum(0), nll, area, precision, confusion)


def _auc_and_precision(is_member, scores):
    """Returns the area under the ROC curve and the average precision of one class."""
    if is_member.all() or not is_member.any():
        return np.nan, np.nan
    _, threshold = np.unique(-scores, return_inverse=True)  # equal scores are one threshold
    hits, misses = np.cumsum(np.bincount(threshold, is_member)), np.cumsum(np.bincount(threshold, ~is_member))
    recall, fall_out = np.append(0, hits / hits[-1]), np.append(0, misses / misses[-1])
    area = np.sum(np.diff(fall_out) * (recall[1:] + recall[:-1]) / 2)
    return area, np.sum(np.diff(recall) * hits / (hits + misses))
