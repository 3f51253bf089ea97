"""Outcomes, held against the support of a model's heads before they are trained on, as XLA would not."""

import dataclasses
import weakref
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.models import is_keras_code
from nllfit.adapters.tensorflow import as_raised, mask_of
from nllfit.caches import kept_for
from nllfit.data import check_numbers
from nllfit.families.checked_outcomes import (
    as_column,
    as_outcomes,
    finite_part,
    has_finite_likelihoods,
    weights_of_outcomes,
    where_counted,
)
from nllfit.families.law import law_of
from nllfit.families.support_checks import first_refused
from nllfit.outputs import distribution_of
from nllfit.training.untrained import warn_of_untrained

__all__ = ["outcome_check"]

_MASKED_ROWS = 1024  # at a time


def outcome_check(model: Model, example: tuple, name: str) -> Callable[..., None]:
    """A function that checks outcomes: whether they are finite, and in the support of the heads' distributions.

    Those that do not count, as they are masked or have a weight of 0, may be anything where the loss is one of ours; in
    place of those that are not finite it returns some that can be, for Keras's own metrics multiply them by 0.

    Args:
      model: a model with heads or without.
      example: a batch `(x, y, ...)`, of which the first row gives the distributions.
      name: what to call the outcomes in a message.

    Returns:
      `check(x, y, sample_weight)` for any number of rows, which returns what it was given, with outcomes to train on,
      or raises a `ValueError` at the first that cannot be.

    Raises:
      ValueError: if there are no outcomes, and the model's loss needs them.
    """
    has_outcomes = len(example) > 1 and getattr(model, "loss", None) is not None
    steps = type(model).train_step, type(model).compute_loss  # a user's own may do without outcomes
    are_kerases = all(map(is_keras_code, steps))
    if len(example) == 1 and getattr(model, "loss", None) and are_kerases:
        raise ValueError(
            f"`{name}` is missing, and the model is compiled with a loss: give the outcomes that it compares with what "
            f"the model makes of `x`, one row for each of `x`."
        )
    outputs = []
    if has_outcomes:
        # The outputs of an architecture, by the shapes and dtypes of its inputs.
        known, rows = (
            kept_for("outputs", dict, model),
            tuple((*t.shape[1:], t.dtype) for t in tf.nest.flatten(example[0])),
        )
        if rows not in known:  # a call of the model takes as long as a hundred steps of a small one
            unseen = _keeps_state(model) or _gives_tensors(model, example[0])
            known[rows] = [] if unseen else _outputs(model, example[0])
            losses = _by_output(model.loss, [output.name for output in known[rows]])
            for output in known[rows]:
                if output.head is not None and _sees_numbers(losses.get(output.name)):
                    warn_of_untrained(model, output.name, example[0])
        outputs = known[rows]

    def check(x, y=None, sample_weight=None, *, where="row {}".format):
        filled = {}
        leaves = {id(leaf): f"`{name}`" + (f" (array {i})" if i else "") for i, leaf in enumerate(tf.nest.flatten(y))}
        names = [output.name for output in outputs]
        targets, losses, weights = (_by_output(values, names) for values in (y, model.loss, sample_weight))
        masks = _masks(model, x) if any(output.is_masked for output in outputs) else [None] * len(outputs)
        for i, output in enumerate(outputs):
            outcomes, loss = targets.get(output.name), losses.get(output.name)
            if output.head is None or outcomes is None or loss is None:
                continue
            if outcomes.dtype == tf.string:
                raise ValueError(
                    f"`{name}` holds strings, such as {np.ravel(outcomes[:1])[0]}, and {output.head.name} takes "
                    f"numbers: number the classes, as `np.unique(y, return_inverse=True)[1]` does."
                )
            if len(outputs) == 1:
                _refuse_metrics_of_numbers(model, output.head)
            padded = getattr(loss, "takes_padding", False)
            given = [weights.get(output.name), masks[i]] if padded else []
            counts = _counts(outcomes, output.head, given)
            known = finite_part(_of_rows(outcomes, output.head, counts, name), output.head)
            check_numbers(known, leaves.pop(id(outcomes), f"`{name}`"), where)
            # A row of weight 0 is like any other to a metric without weights, which has to see what it is.
            seen = _counts(outcomes, output.head, given[1:]) if _has_unweighted_metrics(model) else counts
            filled[id(outcomes)] = _filled(outcomes, output.head, seen)
            row, reason = _first_outside(outcomes, output.head, counts)
            if row is None:
                continue
            # The support may depend on a row's own parameters, as a Uniform's does.
            one, own = slice(row, row + 1), _outputs(model, x, row)[i].head
            if _first_outside(outcomes[one], own, None if counts is None else counts[one])[0] is not None:
                raise ValueError(
                    f"`{name}` holds, at {where(row)}, {outcomes[row].numpy()}, which {output.head.name} cannot have: "
                    f"{reason} Look for mislabelled rows, or choose a head whose domain they are in."
                )
        for leaf in tf.nest.flatten(y):
            if id(leaf) in leaves and leaf is not None:
                check_numbers(leaf, leaves[id(leaf)], where)
        y = tf.nest.map_structure(lambda leaf: filled.get(id(leaf), leaf), y)
        return tuple(part for part in (x, y, sample_weight) if part is not None)

    return check


@dataclasses.dataclass(frozen=True)
class _Output:
    """An output of a model: its name, the distribution of one row of it or None, and whether Keras masks it."""

    name: str | int
    head: tfp.distributions.Distribution | None
    is_masked: bool


def _outputs(model, x, row=0):
    """What one row of the inputs shows of the outputs."""
    try:
        if not model.built:  # for any number of rows, and not for one
            specs = tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), x)
            with model.distribute_strategy.scope():
                tf.function(lambda x: model(x, training=False)).get_concrete_function(specs)
        outputs = model(tf.nest.map_structure(lambda t: t[row : row + 1], x), training=False)
    except NotImplementedError:  # a model that has a training step and no `call`
        return []
    except (TypeError, ValueError, tf.errors.OpError) as error:
        if any(t.dtype == tf.string for t in tf.nest.flatten(x)):
            raise ValueError(
                "`x` holds strings, and the model takes numbers: encode them, as a layer such as `StringLookup` does."
            ) from None
        if any(t.shape[0] is not None for t in tf.nest.flatten(getattr(model, "inputs", None) or [])):
            return []  # made for one size of batches; many are so only because they were first called on an array
        raise as_raised(error) from None
    names = sorted(outputs) if isinstance(outputs, dict) else getattr(model, "output_names", None) or []
    outputs = tf.nest.flatten(outputs)
    names = names if len(names) == len(outputs) else range(len(outputs))
    heads = [distribution_of(output) for output in outputs]
    if any(head is not None and not hasattr(head, "origin") for head in heads):
        heads = [head if of_rows else None for head, of_rows in zip(heads, _are_of_rows(model, x, row), strict=True)]
    return [
        _Output(name, head, mask_of(output) is not None)
        for name, head, output in zip(names, heads, outputs, strict=True)
    ]


def _are_of_rows(model, x, row):
    """Whether each output has a distribution for each row; that of a Gaussian process is a joint one of all rows."""
    twice = tf.nest.map_structure(lambda t: tf.gather(t, [row, row]), x)
    heads = map(distribution_of, tf.nest.flatten(model(twice, training=False)))
    return [head is not None and head.batch_shape[:1] == [2] for head in heads]


def _masks(model, x):
    """The masks of the outputs of all rows, or None."""
    masks, rows = kept_for("masks", lambda: _mask_program(model), model), len(tf.nest.flatten(x)[0])
    starts = range(0, rows, _MASKED_ROWS)
    specs = tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), x)
    masks = masks.get_concrete_function(specs)  # of which TensorFlow does not warn where several models are masked
    parts = [masks(tf.nest.map_structure(lambda t, i=i: t[i : i + _MASKED_ROWS], x)) for i in starts]
    return [None if part[0] is None else tf.concat(part, 0) for part in zip(*parts, strict=True)]


def _mask_program(model):
    owner = weakref.proxy(model)
    return tf.function(lambda x: [mask_of(output) for output in tf.nest.flatten(owner(x, training=False))])


def _keeps_state(model):
    """Whether it takes no single row, for a layer of it keeps a state from batch to batch."""
    return any(getattr(layer, "stateful", False) for layer in adapter_of(model).layers)


def _gives_tensors(model, x):
    """Whether a model is made of Keras's own layers, which give no distribution, and takes inputs such as these."""
    kinds = {type(layer) for layer in adapter_of(model).layers}
    are_kerases = all(is_keras_code(kind) and "Lambda" not in kind.__name__ for kind in kinds)
    return model.built and are_kerases and not any(t.dtype == tf.string for t in tf.nest.flatten(x))


def _by_output(values, outputs):
    """The value for each output, by its name: of a dict by name, of a list by place, or one for all."""
    if isinstance(values, dict) and set(values) & set(outputs):
        return values
    if isinstance(values, (dict, list, tuple)):
        values = tf.nest.flatten(values)
        return dict(zip(outputs, values, strict=True)) if len(values) == len(outputs) else {}
    return dict.fromkeys(outputs, values)


def _counts(y, distribution, weights):
    """Which outcomes count, `[n, *steps]`, by weights and masks; None if all do."""
    shape = [len(y), *distribution.batch_shape[1:]]
    given = [values for values in weights if values is not None]
    counts = [weights_of_outcomes(values, tf.TensorShape(shape), shape) != 0 for values in given]
    return tf.reduce_all(counts, 0) if counts else None


def _of_rows(y, distribution, counts, name="y"):
    """Outcomes `[n, *steps, *event]` of a distribution of batch `[1, *steps]`, possible ones where none count."""
    y = as_column(y, distribution)
    first = as_outcomes(y[:1], distribution, name, len(y))
    outcomes = tf.cast(tf.reshape(y, [-1, *first.shape[1:]]), first.dtype)
    return outcomes if counts is None else where_counted(outcomes, distribution, counts)


def _filled(y, distribution, counts):
    """The outcomes as given, with possible ones in place of those that are not finite and do not count."""
    if counts is None or not y.dtype.is_floating or np.isfinite(tf.reduce_sum(y).numpy()):
        return y
    possible = tf.cast(tf.reshape(_of_rows(y, distribution, counts), tf.shape(y)), y.dtype)
    return tf.where(tf.math.is_finite(y), y, possible)


def _has_unweighted_metrics(model):
    return any(metric is not None for metric in tf.nest.flatten(adapter_of(model).compile_arguments.get("metrics")))


def _refuse_metrics_of_numbers(model, head):
    """Raises a `ValueError` for a metric of Keras's own where outcomes are no numbers."""
    compiled = adapter_of(model).compile_arguments
    metrics = tf.nest.flatten([compiled.get("metrics"), compiled.get("weighted_metrics")])
    named = [metric if isinstance(metric, str) else metric.name for metric in metrics if _is_kerases(metric)]
    if named and law_of(head).latent() is not head:
        raise ValueError(
            f"The metric `{named[0]}` compares a prediction with a number, and outcomes of {head.name} are intervals "
            f"or come with a window: compile with `nllfit.metrics.NegativeLogLikelihood()` in its place, in Keras 3 "
            f"`keras3.metrics.NegativeLogLikelihood()`."
        )


def _is_kerases(metric):
    return isinstance(metric, str) or (hasattr(metric, "name") and is_keras_code(type(metric)))


def _sees_numbers(loss):
    """Whether a loss is Keras's own, which compares an outcome with a number and not with a distribution."""
    return isinstance(loss, str) or (loss is not None and is_keras_code(loss if callable(loss) else type(loss)))


def _first_outside(y, distribution, counts):
    """The first row that a distribution of batch [1] cannot have, and why; (None, None) if there is none."""
    outcomes = _of_rows(y, distribution, counts)
    row, reason = first_refused(distribution, outcomes, finite=True)
    if row is not None and not has_finite_likelihoods(distribution):  # for which an outcome is not to blame
        return first_refused(distribution, outcomes)
    return row, reason
