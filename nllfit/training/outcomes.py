"""Outcomes, held against the support of a model's heads before they are trained on, as XLA would not."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from nllfit.families.outcomes import as_outcomes
from nllfit.families.refusal import first_refused
from nllfit.kerases import Model, distribution_of, is_kerases_own
from nllfit.training.programs import kept_for

__all__ = ["outcome_check"]


def outcome_check(model: Model, example: tuple, name: str) -> Callable[..., None]:
    """A function that holds outcomes against the support of the heads' distributions.

    Args:
      model: a model with heads or without.
      example: a batch `(x, y, ...)`, of which the first row gives the distributions.
      name: what to call the outcomes in a message.

    Returns:
      `check(x, y)` for any number of rows, which raises a `ValueError` at the first outcome outside its support.

    Raises:
      ValueError: if there are no outcomes, and the model's loss needs them.
    """

    def distributions(x, row=0):
        try:
            if not model.built:  # for any number of rows, and not for one
                specs = tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), x)
                tf.function(lambda x: model(x, training=False)).get_concrete_function(specs)
            outputs = model(tf.nest.map_structure(lambda t: t[row : row + 1], x), training=False)
        except NotImplementedError:  # a model that has a training step and no `call`
            return []
        names = sorted(outputs) if isinstance(outputs, dict) else getattr(model, "output_names", None) or []
        heads = [distribution_of(output) for output in tf.nest.flatten(outputs)]
        return list(zip(names if len(names) == len(heads) else range(len(heads)), heads, strict=True))

    has_outcomes = len(example) > 1 and getattr(model, "loss", None) is not None
    steps = type(model).train_step, type(model).compute_loss  # a user's own may do without outcomes
    are_kerases = all(map(is_kerases_own, steps))
    if len(example) == 1 and getattr(model, "loss", None) and are_kerases:
        raise ValueError(
            f"`{name}` is missing, and the model is compiled with a loss: give the outcomes that it compares with what "
            f"the model makes of `x`, one row for each of `x`."
        )
    heads = []
    if has_outcomes:
        known, shapes = kept_for(model, _heads), tuple(tuple(t.shape[1:]) for t in tf.nest.flatten(example[0]))
        if shapes not in known:  # to look at them takes as long as a hundred steps of a small model
            known[shapes] = [] if _is_of_one_batch_size(model) else distributions(example[0])
        heads = known[shapes]

    def check(x, y=None, *_, where="row {}".format):
        outputs = [output for output, _ in heads]
        targets, losses = _by_output(y, outputs), _by_output(model.loss, outputs)
        for i, (output, head) in enumerate(heads):
            outcomes = targets.get(output)
            if head is None or outcomes is None or losses.get(output) is None:
                continue
            if outcomes.dtype == tf.string:
                raise ValueError(
                    f"`{name}` holds strings, such as {np.ravel(outcomes[:1])[0]}, and {head.name} takes numbers: "
                    f"number the classes, as `np.unique(y, return_inverse=True)[1]` does."
                )
            row, reason = _first_outside(outcomes, head)
            # The support may depend on a row's own parameters, as a Uniform's does.
            if row is not None and _first_outside(outcomes[row : row + 1], distributions(x, row)[i][1])[0] is not None:
                raise ValueError(
                    f"`{name}` holds, at {where(row)}, {outcomes[row].numpy()}, which {head.name} cannot have: "
                    f"{reason} Look for mislabelled rows, or choose a head whose domain they are in."
                )

    return check


def _heads(model):
    """The names of a model's outputs with the distributions they were seen to be, by the shapes of its inputs."""
    return {}


def _is_of_one_batch_size(model):
    """Whether it takes no single row, as layers that keep a state from batch to batch do not."""
    inputs = tf.nest.flatten(getattr(model, "inputs", None) or [])
    return any(t.shape[0] is not None for t in inputs) or any(
        getattr(layer, "stateful", False) for layer in model._flatten_layers()
    )


def _by_output(values, outputs):
    """The value for each output, by its name: of a dict by name, of a list by place, or one for all."""
    if isinstance(values, dict) and set(values) & set(outputs):
        return values
    if isinstance(values, (dict, list, tuple)):
        values = tf.nest.flatten(values)
        return dict(zip(outputs, values, strict=True)) if len(values) == len(outputs) else {}
    return dict.fromkeys(outputs, values)


def _first_outside(y, distribution):
    """The first row that a distribution of batch [1] cannot have, and why; (None, None) if there is none."""
    first = as_outcomes(y[:1], distribution)
    return first_refused(distribution, tf.cast(tf.reshape(y, [-1, *first.shape[1:]]), first.dtype), finite=True)
