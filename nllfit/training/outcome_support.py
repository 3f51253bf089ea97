"""Checks outcomes against the support of a model's heads before training, because XLA does not check them."""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.keras_models import is_keras_code
from nllfit.data_checks import check_numbers
from nllfit.families.law import law_of
from nllfit.families.outcome_shapes import (
    as_column,
    as_outcomes,
    finite_part,
    has_finite_likelihoods,
    weights_of_outcomes,
    where_counted,
)
from nllfit.families.support_checks import first_refused
from nllfit.output_masks import masks_of
from nllfit.shared_metrics import Score
from nllfit.training.model_outputs import by_output, known_outputs, outputs_of
from nllfit.training.untrained_parameters import warn_of_untrained

__all__ = ["outcome_check"]


def outcome_check(model: Model, example: tuple, name: str, has_metrics: bool = False) -> Callable[..., tuple]:
    """Returns a function that checks that outcomes are finite and in the support of the heads' distributions.

    If the loss is one of nllfit's, outcomes that are masked or have a weight of 0 do not count and may have any value.
    An outcome that does not count and is not finite is replaced by an outcome in the support. Otherwise Keras's own
    metrics would be NaN, because 0 times NaN is NaN.

    The `metrics` of `compile` ignore weights. If `compile` got such metrics, only masked outcomes are replaced. If one
    of these metrics is nllfit's, outcomes of weight 0 must be in the support.

    Args:
      model: a model with heads or without.
      example: a batch `(x, y, ...)`. The model is called on the first row to determine the distributions. For a later
        batch whose inputs differ in shape from all previous ones, the model is called on the first row of that batch.
      name: the name of the outcomes in messages.
      has_metrics: whether metrics are computed, as in `fit`.

    Returns:
      A function `check(x, y, sample_weight)` for any number of rows. The function replaces outcomes as described above
      and returns the three arguments. If an outcome that counts is not finite, or is outside the support, the function
      raises a `ValueError`, whose message names the row.

    Raises:
      ValueError: if there are no outcomes, and the model's loss needs them.
    """
    loss = getattr(model, "loss", None)
    steps = type(model).train_step, type(model).compute_loss  # a user's own methods may not need outcomes
    if len(example) == 1 and loss and all(map(is_keras_code, steps)):
        raise ValueError(
            f"`{name}` is missing, and the model is compiled with a loss: give the outcomes, one row for each row of "
            f"`x`."
        )
    outputs: list = []
    if len(example) > 1 and loss is not None:
        outputs, are_new = known_outputs(model, example[0])
        losses = by_output(loss, [output.name for output in outputs])
        for output in outputs if are_new else ():
            if output.head is not None and _is_keras_loss(losses.get(output.name)):
                warn_of_untrained(model, output.name, example[0])
    return functools.partial(_checked, model, bool(outputs), has_metrics, name)


def _checked(model, has_loss, has_metrics, name, x, y=None, sample_weight=None, *, where="row {}".format):
    """Checks the outcomes and returns the data.

    If the loss is one of nllfit's, outcomes that are masked or have weight 0 do not count. An outcome that does not
    count and is not finite is replaced by an outcome in the support. If an outcome that counts is not finite, or is
    outside the support, a `ValueError` is raised. The `metrics` of `compile` change these rules: see `outcome_check`.
    """
    outputs = known_outputs(model, x)[0] if has_loss else []  # per batch: sequences may differ in length
    replacements = {}
    leaves = {id(leaf): f"`{name}`" + (f" (array {i})" if i else "") for i, leaf in enumerate(tf.nest.flatten(y))}
    names = [output.name for output in outputs]
    targets, losses, weights = (by_output(values, names) for values in (y, model.loss, sample_weight))
    masks = masks_of(model, x) if any(output.is_masked for output in outputs) else [None] * len(outputs)
    for i, (output, mask) in enumerate(zip(outputs, masks, strict=True)):
        outcomes, loss = targets.get(output.name), losses.get(output.name)
        if output.head is None or outcomes is None or loss is None:
            continue
        _refuse_strings(outcomes, output.head, name)
        if len(outputs) == 1:
            _refuse_metrics_of_numbers(model, output.head)
        weights_and_mask = [weights.get(output.name), mask] if getattr(loss, "takes_padding", False) else []
        counts = _counts(outcomes, output.head, weights_and_mask)
        # A metric without weights includes rows of weight 0, so their outcomes must not be replaced.
        unweighted = _unweighted_metrics(model)
        counts_in_metrics = _counts(outcomes, output.head, weights_and_mask[1:]) if unweighted else counts
        is_scored = has_metrics and len(outputs) == 1 and any(isinstance(metric, Score) for metric in unweighted)
        if is_scored and sample_weight is not None:
            counts, where = counts_in_metrics, functools.partial(_describe_scored_row, where)
        values_to_check = finite_part(_as_rows_of(outcomes, output.head, counts, name), output.head)
        check_numbers(values_to_check, leaves.pop(id(outcomes), f"`{name}`"), where)
        replacements[id(outcomes)] = _replaced(outcomes, output.head, counts_in_metrics)
        _refuse_outside(outcomes, output.head, counts, lambda row, i=i: outputs_of(model, x, row)[i].head, name, where)
    for leaf in tf.nest.flatten(y):
        if id(leaf) in leaves and leaf is not None:
            check_numbers(leaf, leaves[id(leaf)], where)
    y = tf.nest.map_structure(lambda leaf: replacements.get(id(leaf), leaf), y)
    return tuple(part for part in (x, y, sample_weight) if part is not None)


def _refuse_strings(outcomes, head, name):
    if outcomes.dtype == tf.string:
        raise ValueError(
            f"`{name}` holds strings, such as {np.ravel(outcomes[:1])[0]}, and {head.name} takes numbers: number the "
            f"classes, as `np.unique(y, return_inverse=True)[1]` does."
        )


def _refuse_outside(outcomes, head, counts, head_of_row, name, where):
    """Raises a `ValueError` for an outcome that the distribution of its row cannot have.

    The support of `head`, the distribution of one example row, shows the first outcome that may be impossible. The
    support may depend on the parameters of a row, as for a Uniform. So `head_of_row(row)`, the distribution of the
    outcome's own row, then decides whether the outcome is impossible.
    """
    row, reason = _first_outside(outcomes, head, counts)
    if row is None:
        return
    suspect = slice(row, row + 1)
    if _first_outside(outcomes[suspect], head_of_row(row), None if counts is None else counts[suspect])[0] is not None:
        raise ValueError(
            f"`{name}` holds, at {where(row)}, {outcomes[row].numpy()}, which {head.name} cannot have: {reason} Look "
            f"for mislabelled rows, or choose a head whose domain contains them."
        )


def _counts(y, distribution, weights):
    """Returns whether each outcome counts according to weights and masks, `[n, *steps]`, or None if all count."""
    shape = [len(y), *distribution.batch_shape[1:]]
    present = [values for values in weights if values is not None]
    counts = [weights_of_outcomes(values, tf.TensorShape(shape), shape) != 0 for values in present]
    return tf.reduce_all(counts, 0) if counts else None


def _as_rows_of(y, distribution, counts, name="y"):
    """Reshapes outcomes to `[n, *steps, *event]` for a distribution of batch shape `[1, *steps]`.

    Outcomes for which `counts` is False are replaced by outcomes in the support.
    """
    y = as_column(y, distribution)
    first = as_outcomes(y[:1], distribution, name, len(y))
    outcomes = tf.cast(tf.reshape(y, [-1, *first.shape[1:]]), first.dtype)
    return outcomes if counts is None else where_counted(outcomes, distribution, counts)


def _replaced(y, distribution, counts):
    """Where `counts` is False, replaces each number that is not finite by a number in the support."""
    if counts is None or not y.dtype.is_floating or np.isfinite(tf.reduce_sum(y).numpy()):
        return y
    possible = tf.cast(tf.reshape(_as_rows_of(y, distribution, counts), tf.shape(y)), y.dtype)
    return tf.where(tf.math.is_finite(y), y, possible)


def _unweighted_metrics(model):
    metrics = tf.nest.flatten(adapter_of(model).compile_arguments.get("metrics"))
    return [metric for metric in metrics if metric is not None]


def _describe_scored_row(where, row):
    """Returns a text for messages: the position of a row, and a note that rows of weight 0 count in `metrics`."""
    return f"{where(row)} (a row of weight 0 counts in `metrics` of `compile`, but not in `weighted_metrics`)"


def _refuse_metrics_of_numbers(model, head):
    """Raises a `ValueError` if one of Keras's own metrics gets outcomes that are not single numbers.

    Such outcomes are intervals, or numbers with the ends of their truncation windows.
    """
    compiled = adapter_of(model).compile_arguments
    metrics = tf.nest.flatten([compiled.get("metrics"), compiled.get("weighted_metrics")])
    named = [metric if isinstance(metric, str) else metric.name for metric in metrics if _is_of_keras(metric)]
    if named and law_of(head).latent() is not head:
        raise ValueError(
            f"The metric `{named[0]}` compares a prediction with a number, and outcomes of {head.name} are intervals "
            f"or come with a window: compile with `nllfit.metrics.NegativeLogLikelihood()` in its place, in Keras 3 "
            f"`keras3.metrics.NegativeLogLikelihood()`."
        )


def _is_of_keras(metric):
    return isinstance(metric, str) or (hasattr(metric, "name") and is_keras_code(type(metric)))


def _is_keras_loss(loss):
    """Returns whether a loss is Keras's own.

    Such a loss compares an outcome with a number and not with a distribution.
    """
    return isinstance(loss, str) or (loss is not None and is_keras_code(loss if callable(loss) else type(loss)))


def _first_outside(y, distribution, counts):
    """Returns the index of the first outcome outside the support of a distribution of batch shape [1], and the reason.

    Both are None if all outcomes that count are in the support.
    """
    outcomes = _as_rows_of(y, distribution, counts)
    row, reason = first_refused(distribution, outcomes, finite=True)
    if row is not None and not has_finite_likelihoods(distribution):  # no likelihood is finite: check only the support
        return first_refused(distribution, outcomes)
    return row, reason
