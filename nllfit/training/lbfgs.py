"""Solving: `fit_lbfgs`, the optimum of a model small enough to be solved rather than trained."""

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

_LOST = 1e-5  # nats a row, that a loss of 1 may rise by as its weights are rounded


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

    The objective is the loss that `model.evaluate` would give for one batch of all rows, regularisers included: layers
    run as they predict (`training=False`), so that it has one value at each point. For a convex model, such as
    logistic regression with a penalty, the result is the optimum. It is searched in float64 whatever the model's dtype,
    and only the weights at the end are rounded. Up to 200 weights are found by Newton's method alone, up to 2000 by
    Newton's method from where L-BFGS leads, and more by L-BFGS. Inputs and outcomes may be in any unit: the search
    begins at the model's weights or, where those predict the outcomes worse than their own marginal distribution does,
    at that, as `initialize` sets it. Ctrl-C, or an error, leaves the model at the best weights found so far. The loss
    is compiled once for all models of one architecture and any number of rows, so that cross-validation does not wait
    for it again.

    Args:
      model: a compiled model of tf_keras or Keras 3, of which only the loss is used.
      x, y: arrays `[n, ...]`, or structures of them.
      sample_weight: a factor in the loss of each row, `[n]`.
      class_weight: `{label: weight}`, a factor in the loss of each row of that class.
      max_iterations: steps, each of which evaluates the loss a few times.
      tolerance: how far the loss may be above that of the optimum, in nats a row; by default what rounding errors make
        up, and 1e-10 for more than 2000 weights.

    Returns:
      Keras's `History`, its `"loss"` at the start and at the end, with three more attributes: `converged`, `message`,
      which says why it stopped, and `num_iterations`. An optimum at infinity, as of separable classes without a
      penalty, and one that the model's dtype cannot hold are not `converged`.

    Raises:
      TypeError, ValueError: for a model or data that `fit` would not take, or a loss that is finite at neither start.

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
    model(tf.nest.map_structure(lambda t: t[:1], data[0]), training=False)  # builds what is not built yet
    if not model.trainable_variables:
        raise ValueError("The model has no trainable weights: there is nothing to solve for.")
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
    """Makes the outcomes' marginal distribution what the model predicts; False if it cannot.

    Random weights on inputs in any unit can lie where every link is flat, and no search leads away from there.
    """
    try:
        initialize(model, *data)
    except (TypeError, ValueError):  # no head, or no bias before it
        return False
    return True


def _fault(found: Found) -> str | None:
    """Why the weights found are no optimum; None if they are."""
    steps, number = found.iterations, "unknown" if found.axes is None else f"{found.axes.condition:.1e}"
    lacks = f"after {steps} steps the loss is some {found.gain:.1e} above that of an optimum"
    lost = max(found.loss - found.value, found.shaken)
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
            f"loss falls without bound as a scale goes to 0 (give the head a `floor`), or the inputs are too large or "
            f"too much alike for their dtype (standardise them, or compute in float64)"
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
    """Of what kind an optimum is."""
    flat = 0 if found.axes is None else int(found.axes.flat.sum())
    alone = f"; {flat} directions of the weights change nothing, so that they are not the only ones" if flat else ""
    return f"after {found.iterations} steps another would lower the loss by a mere {found.gain:.1e}{alone}"
