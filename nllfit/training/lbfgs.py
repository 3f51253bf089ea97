"""`fit_lbfgs`: the optimum of a small model, by Newton's method and L-BFGS."""

import functools
import numbers
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.models import float_dtype
from nllfit.initialization import initialize
from nllfit.training.arguments import as_integers, check_trainable
from nllfit.training.batches import checked_arrays
from nllfit.training.loss_surface import Surface, flat_weights, set_weights, surface_over
from nllfit.training.outcomes import outcome_check
from nllfit.training.search import Found, search

__all__ = ["fit_lbfgs"]

_LOST = 1e-5  # nats per row: the largest allowed rise of a loss of 1 when its weights are rounded


def fit_lbfgs(
    model: Model,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    class_weight: dict | None = None,
    max_iterations: int = 1000,
    tolerance: float | None = None,
) -> Any:
    """Minimises a compiled model's loss over all the data at once, by L-BFGS and Newton's method.

    The objective is the loss that `model.evaluate` would return for one batch of all rows, including regularisers.
    Layers run in prediction mode (`training=False`), so the loss is a function of the weights. For a convex model, such
    as logistic regression with a penalty, the result is the optimum. The search is in float64 whatever the dtype of the
    model, and only the final weights are rounded. For up to 200 weights the search is only Newton's method; for up to
    2000, L-BFGS followed by Newton's method; for more, L-BFGS. Inputs and outcomes may be in any unit: if the model's
    weights predict the outcomes worse than the marginal distribution of the outcomes does, the search begins at that
    distribution, as set by `initialize`. After Ctrl-C or an error, the model has the best weights found so far. The
    loss is compiled once for all models of one architecture and any number of rows, so cross-validation compiles only
    once.

    Args:
      model: a compiled model of tf_keras or Keras 3; its optimizer is not used.
      x, y: arrays `[n, ...]`, or structures of them.
      sample_weight: a factor in the loss of each row, `[n]`.
      class_weight: `{label: weight}`, a factor in the loss of each row of that class.
      max_iterations: the maximum number of steps; each evaluates the loss a few times.
      tolerance: how far the loss may be above the optimum, in nats per row; by default as far as rounding errors reach,
        and 1e-10 for more than 2000 weights.

    Returns:
      Keras's `History`, with the `"loss"` at the start and at the end, and three more attributes: `converged`;
      `message`, which says why the search stopped; and `num_iterations`. `converged` is False for an optimum at
      infinity, as of separable classes without a penalty, and for one that the model's dtype cannot represent.

    Raises:
      TypeError, ValueError: for a model or data that `fit` does not accept, or if the loss is not finite at any start.

    Example:
      >>> import tf_keras
      >>> line = tf_keras.Sequential([tf_keras.layers.Dense(1), nllfit.heads.Normal(scale=1.0)])
      >>> line.compile(loss=nllfit.negative_log_likelihood)
      >>> history = nllfit.fit_lbfgs(line, np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [3.0], [5.0]]))
      >>> history.converged, line.get_weights()[0].round(3)
      (True, array([[2.]], dtype=float32))

    Source: Liu and Nocedal, On the limited memory BFGS method for large scale optimization, 1989.
    """
    check_trainable(model)
    (max_iterations,) = as_integers(max_iterations=max_iterations)
    data = checked_arrays(
        *(x, y, sample_weight),
        check=functools.partial(outcome_check, model),
        class_weight=class_weight,
        floatx=float_dtype(model),
        reader="L-BFGS",
    )
    if tolerance is not None and not (
        isinstance(tolerance, numbers.Real) and not isinstance(tolerance, bool) and 0 <= tolerance < float("inf")
    ):
        raise ValueError(f"`tolerance` is {tolerance!r}: give a finite number >= 0, or None.")
    model(tf.nest.map_structure(lambda t: t[:1], data[0]), training=False)  # builds the model if it is not built yet
    if not model.trainable_variables:
        raise ValueError("The model has no trainable weights: there is nothing to optimise.")
    best = start = flat_weights(model)
    try:
        with surface_over(Surface, model, data) as surface:
            w, before = start, surface.value(start)
            if np.all(np.isfinite(start)) and _went_to_marginal(model, data):
                marginal = flat_weights(model)
                if not before <= (loss := surface.value(marginal)):
                    w, before = marginal, loss
            if not np.isfinite(before):
                raise ValueError(f"The loss at the start is {before}: give the model weights at which it is finite.")
            for found in search(surface, w, max_iterations, tolerance):
                best = found.rounded
    finally:  # the search evaluates the loss at weights that may be worse, and Ctrl-C may stop it anywhere
        set_weights(model, best)

    model.history = _history(model, before, found)
    return model.history


def _history(model, before, found):
    """Keras's `History` of a search that began at the loss `before`."""
    history = adapter_of(model).keras.callbacks.History()
    history.set_model(model)
    history.num_iterations = found.iterations
    history.epoch = [0, history.num_iterations]
    history.history = {"loss": [before, found.loss]}
    fault = _fault(found)
    history.converged, history.message = fault is None, fault or _success(found)
    return history


def _went_to_marginal(model, data):
    """Sets the model to predict the marginal distribution of the outcomes; returns False if that is impossible.

    With inputs in any unit, random weights may lie where every link is flat, and no search leads away from there.
    """
    try:
        initialize(model, *data)
    except (TypeError, ValueError):  # no head, or no bias before it
        return False
    return True


def _fault(found: Found) -> str | None:
    """Why the weights found are not an optimum; None if they are one."""
    steps, number = found.iterations, "unknown" if found.axes is None else f"{found.axes.condition:.1e}"
    lacks = f"after {steps} steps the loss is about {found.gain:.1e} above that of an optimum"
    lost = max(found.loss - found.value, found.rounding_change)
    if found.end == "infinity":
        return (
            "the optimum is at infinity: the loss goes on falling as the weights grow, as it does where classes can be "
            "separated, or where a parameter, such as the `df` of a Student's t, is best at infinity: penalise the "
            "weights, or hold the parameter"
        )
    if found.end != "cut short" and not lost <= _LOST * (1 + abs(found.value)):
        return (
            f"the weights are exact to their last digit, which still counts: the loss is {found.value:.6g}, {lost:.1e} "
            f"more with rounded weights, and the condition number is {number}. Either the fit is exact, so that the "
            f"loss falls without bound as a scale goes to 0 (give the head a `floor`), or the inputs are too large, "
            f"or too nearly collinear, for their dtype (standardise them, or compute in float64)"
        )
    if found.end == "cut short":
        return f"{lacks}: raise `max_iterations`"
    if found.end == "stuck":
        return (
            f"{lacks}, but none lower was found, and the condition number is {number}: standardise the inputs; or hold "
            f"a parameter that bounds the outcomes, such as the `loc` of a GeneralizedPareto, where no slope is 0"
        )
    return None


def _success(found: Found) -> str:
    """The message for an optimum."""
    flat = 0 if found.axes is None else int(found.axes.flat.sum())
    others = f"; {flat} directions of the weights change nothing, so that other optima exist" if flat else ""
    return f"after {found.iterations} steps another step would lower the loss by only {found.gain:.1e}{others}"
