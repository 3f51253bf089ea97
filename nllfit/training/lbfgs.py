"""`fit_lbfgs`: the optimum of a small model, by Newton's method and L-BFGS."""

import dataclasses
import functools
import numbers
from typing import Any

import numpy as np

from nllfit.adapters import Model, adapter_of
from nllfit.data_checks import rows_of
from nllfit.initialization import initialize
from nllfit.model_inputs import float_dtype
from nllfit.training.batches import checked_arrays
from nllfit.training.fit_arguments import as_integers, check_trainable, check_verbose
from nllfit.training.loss_surface import Surface, flat_weights, set_weights, surface_over
from nllfit.training.outcome_support import outcome_check
from nllfit.training.search_progress import Progress
from nllfit.training.weight_search import Found, search

__all__ = ["fit_lbfgs"]

# If the condition number is smaller than this, large or nearly collinear inputs cannot be the cause of rounding errors.
_GOOD_CONDITION = 100.0
# The largest accepted rise of the loss when the weights are rounded, relative to `1 + abs(loss)`.
_MAX_RISE = 1e-5


def fit_lbfgs(
    model: Model,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    class_weight: dict | None = None,
    max_iterations: int = 1000,
    max_seconds: float | None = None,
    tolerance: float | None = None,
    verbose: str | int = "auto",
) -> Any:
    """Minimises a compiled model's loss over all the data at once, by L-BFGS and Newton's method.

    The objective is the loss that `model.evaluate` would return for one batch of all rows, including regularisers.
    Layers run in prediction mode (`training=False`), so the loss is a function of the weights. For a convex model, such
    as logistic regression with a penalty, the result is the optimum. The search is in float64, and only the final
    weights are rounded to the dtype of the model. (The search is in the model's own dtype if the configs of the layers
    do not determine the loss: if the model is subclassed, has an `add_loss`, or has attributes that were set later.)

    The method depends on the number of weights: Newton's method for up to 200; L-BFGS and then Newton's method for up
    to 2000; only L-BFGS for more. A model with more than 33 weights changes to L-BFGS, whose steps are cheaper, after
    three Newton steps in a row that lower the loss by less than a quarter of what gradient and Hessian predict. This
    happens in networks with hidden layers.

    Inputs and outcomes may be in any unit. The search begins at the model's weights or at the weights that
    `initialize` sets, wherever the loss is lower. (With the weights of `initialize`, the model predicts the marginal
    distribution of the outcomes.) After Ctrl-C or an error, the model has the best weights found so far. The loss is
    compiled once for all models of one architecture (see `fit`) and any number of rows, so cross-validation compiles
    only once.

    Args:
      model: a compiled model of tf_keras or Keras 3; its optimizer is not used.
      x, y: arrays `[n, ...]`, or structures of them. `x` may be a sparse matrix of `scipy.sparse` or a
        `tf.SparseTensor`. It stays sparse if the first layer is a `Dense` and, in Keras 3, the model begins with
        `keras.Input(shape, sparse=True)`. Otherwise Keras makes it dense, or the layer refuses it, as `Normalization`
        does. Keras's `predict` needs dense arrays: call it batch by batch, for `x[i:j].toarray()`.
      sample_weight: a factor in the loss of each row, `[n]`.
      class_weight: `{label: weight}`, a factor in the loss of each row of that class; 1 for other classes.
      max_iterations: the maximum number of steps; each evaluates the loss a few times.
      max_seconds: the search ends at its first check after this time; None for no limit. A check follows each Newton
        step and each 100 steps of L-BFGS (10, if rows times weights are at least 1e8).
      tolerance: how far the loss may be above the optimum, in nats per row; by default the limit of rounding errors, or
        `1e-10 (1 + abs(loss))` for more than 2000 weights.
      verbose: 0 for silence, 1 or 2 as in Keras; "auto" for Keras's progress bar if the search takes longer than 5 s.

    Returns:
      Keras's `History`, with the `"loss"` at the start of the search and at the end, and three more attributes:
      `converged`; `message`, which says why the search stopped; and `num_iterations`. `converged` is also False if the
      optimum is at infinity (for example, if classes can be separated and there is no penalty), or if the model's dtype
      cannot represent the optimum.

    Raises:
      TypeError, ValueError: if one of these is true:
        - `fit` does not accept the model or the data. (But `x` may be sparse.)
        - The data are a dataset, or the model has several replicas.
        - The model has no trainable weights, has a constraint on a trainable weight, or draws random numbers when it
          predicts.
        - A limit or the tolerance is invalid, or the loss at the start is not finite.

    Example:
      >>> import tf_keras
      >>> line = tf_keras.Sequential([tf_keras.layers.Dense(1), nllfit.heads.Normal(scale=1.0)])
      >>> line.compile(loss=nllfit.negative_log_likelihood)
      >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [3.0], [5.0]])
      >>> history = nllfit.fit_lbfgs(line, x, y, verbose=0)
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
        takes_sparse=True,
    )
    for name, limit in {"tolerance": tolerance, "max_seconds": max_seconds}.items():
        if limit is not None and not (
            isinstance(limit, numbers.Real) and not isinstance(limit, bool) and 0 <= limit < float("inf")
        ):
            raise ValueError(f"`{name}` is {limit!r}: give a finite number >= 0, or None.")
    check_verbose(verbose)
    model(rows_of(data[0], 0, 1), training=False)  # builds the model if it is not built yet
    _check_weights(model)
    best = start = flat_weights(model)
    try:
        with surface_over(Surface, model, data) as surface:
            w, initial = start, surface.value(start)
            if np.all(np.isfinite(start)) and _went_to_marginal(model, data):
                marginal = flat_weights(model)
                if (loss := surface.value(marginal)) < initial or np.isnan(initial):
                    w, initial = marginal, loss
            if not np.isfinite(initial):
                raise ValueError(f"The loss at the start is {initial}: give weights and inputs at which it is finite.")
            progress = Progress(adapter_of(model).keras, max_iterations, verbose, max_seconds)
            for found in search(surface, w, max_iterations, tolerance):
                best = found.rounded
                if progress.is_over(found) and found.end != "optimum":
                    found = dataclasses.replace(found, end="out of time")
                    break
            progress.end(found)
    finally:  # also after Ctrl-C, because the search may have moved to worse weights
        set_weights(model, best)
    model.history = _history(model, initial, found)
    return model.history


def _check_weights(model):
    """Raises a `ValueError` if no weight is trainable, or if a trainable weight has a constraint."""
    if not model.trainable_variables:
        raise ValueError("The model has no trainable weights: there is nothing to optimise.")
    for weight in model.trainable_variables:
        if weight.constraint is not None:
            raise ValueError(
                f"The weight `{weight.name}` has a constraint, {type(weight.constraint).__name__}, but L-BFGS searches "
                f"all real weights: train the model with `nllfit.fit`, or remove the constraint."
            )


def _history(model, initial, found):
    """Returns Keras's `History` of a search. `initial` is the loss at the start of the search."""
    history = adapter_of(model).keras.callbacks.History()
    history.set_model(model)
    history.num_iterations = found.iterations
    history.epoch = [0, history.num_iterations]
    history.history = {"loss": [initial, found.loss]}
    fault = _fault(found)
    history.converged, history.message = fault is None, fault or _success(found)
    return history


def _went_to_marginal(model, data):
    """Sets the model to predict the marginal distribution of the outcomes. Returns False if that is impossible.

    With large inputs and random weights, the inputs of a head may be so large that the gradient of every link is 0. No
    search leads away from such weights.
    """
    try:
        initialize(model, *data)
    except (TypeError, ValueError):  # no head, or no bias before the head
        return False
    return True


def _fault(found: Found) -> str | None:
    """Returns the reason why the weights found are not an optimum, or None if they are an optimum."""
    condition = "unknown" if found.axes is None or found.axes.flat.all() else f"{found.axes.condition:.1e}"
    gap, is_over = _distance_text(found), found.end in ("cut short", "out of time")
    rise = max(found.loss - found.value, found.rounding_change)
    if found.end == "infinity":
        return (
            "the optimum is at infinity: the loss goes on falling as the weights grow, as it does where classes can be "
            "separated, or where a parameter, such as the `df` of a Student's t, is best at infinity: penalise the "
            "weights, or hold the parameter"
        )
    if found.end == "zero":
        return (
            f"the fit is exact: the loss is {found.value:.1e}, and each step only divides it by a factor, so the "
            f"optimum is at infinity, as where classes can be separated, or has no curvature: penalise the weights"
        )
    if not is_over and not rise <= _MAX_RISE * (1 + abs(found.value)):
        return (
            f"the dtype of the weights has too few digits for the optimum: the loss is {found.value:.6g}, {rise:.1e} "
            f"more with rounded weights, and the condition number is {condition}: {_reason_of_rounding(found)}"
        )
    if is_over:
        return f"{gap}: raise `{'max_seconds' if found.end == 'out of time' else 'max_iterations'}`"
    if found.end == "stuck":
        return (
            f"{gap}, but no lower loss was found, and the condition number is {condition}: standardise the inputs; or "
            f"hold a parameter that bounds the outcomes, such as the `loc` of a GeneralizedPareto, because at its best "
            f"value the slope is not 0"
        )
    return None


def _reason_of_rounding(found: Found) -> str:
    exact = "the fit is exact, so that the loss falls without bound as a scale goes to 0 (give the head a `floor`)"
    if found.axes is not None and found.axes.condition < _GOOD_CONDITION:
        return exact
    return (
        f"either {exact}, or the inputs are too large, or too nearly collinear, for their dtype (standardise them, or "
        f"compute in float64)"
    )


def _distance_text(found: Found) -> str:
    """Describes how far the loss is above the optimum."""
    progress = f"after {found.iterations} steps the loss is {found.loss:.6g}"
    if not np.isfinite(found.gain):
        return f"{progress} and still falls"
    if found.axes is not None and found.axes.flat.all():
        return f"{progress} and has no curvature, so its distance from the optimum is unknown"
    guess = f"{progress}, about {found.gain:.1e} above the optimum"
    downwards = 0 if found.axes is None else int(np.sum(found.axes.curvatures < 0))
    if not downwards:
        return guess
    return (
        f"{guess}, which is a rough guess, because the loss bends downwards along {downwards} of {len(found.w)} axes, "
        f"as in a network with hidden layers"
    )


def _success(found: Found) -> str:
    num_flat = 0 if found.axes is None else int(found.axes.flat.sum())
    remark = f"; {num_flat} directions of the weights change nothing, so that other optima exist" if num_flat else ""
    if found.num_corners:
        remark = f"; {found.num_corners} of the weights are 0 at a corner of the loss, such as an L1 penalty has"
    return f"after {found.iterations} steps another step would lower the loss by only {found.gain:.1e}{remark}"
