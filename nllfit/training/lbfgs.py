"""Solving: `fit_lbfgs`, the optimum of a model small enough to be solved rather than trained."""

import functools
import weakref

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.kerases import float_dtype, keras_of, variable_of
from nllfit.training.arguments import check_integers, check_trainable
from nllfit.training.batches import Arrays, batches_of
from nllfit.training.outcomes import outcome_check
from nllfit.training.programs import kept_for

__all__ = ["fit_lbfgs"]

_FEW = 2000  # weights, whose Hessian is quickly written down


def fit_lbfgs(model, x, y=None, *, sample_weight=None, class_weight=None, max_iterations=1000, tolerance=None):
    """Minimises a compiled model's loss over all the data at once, by L-BFGS, and by Newton's method where it is stuck.

    The objective is the loss that `model.evaluate` would give for one batch of all rows, regularisers included: layers
    run as they predict (`training=False`), so that it has one value at each point. For a convex model, such as
    logistic regression with a penalty, the result is the optimum, to about half the digits of the loss's dtype in the
    weights and nearly all of them in the loss.

    Args:
      model: a compiled model of tf_keras or Keras 3, of which only the loss is used.
      x, y: arrays `[n, ...]`, or structures of them.
      sample_weight: a factor in the loss of each row, `[n]`.
      class_weight: `{label: weight}`, a factor in the loss of each row of that class.
      max_iterations: steps, each of which evaluates the loss a few times.
      tolerance: the largest element of the gradient at an optimum; by default 1e-9 in float64 and 1e-5 in float32.

    Returns:
      Keras's `History`, its `"loss"` at the start and at the end, with three more attributes: `converged`, `message`,
      which says why it stopped, and `num_iterations`. An optimum at infinity, as of separable classes without a
      penalty, is not `converged`.

    Raises:
      TypeError, ValueError: for a model or data that `fit` would not take, or a loss that is not finite at the start.
      FloatingPointError: if the search ends at weights that are not finite; the model keeps those it had.

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
    check_integers(max_iterations=max_iterations)
    batches = batches_of(
        *(x, y, sample_weight),
        check=functools.partial(outcome_check, model),
        class_weight=class_weight,
        floatx=float_dtype(model),
        batch_size=2**62,
    )
    if not isinstance(batches, Arrays):
        raise ValueError(f"`x` is a {type(x).__name__}, and L-BFGS takes all the data at once: give arrays.")
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"`tolerance` is {tolerance}: give a number >= 0, or None.")
    model(tf.nest.map_structure(lambda t: t[:1], batches.data[0]), training=False)  # builds what is not built yet
    if not model.trainable_variables:
        raise ValueError("The model has no trainable weights: there is nothing to solve for.")
    solver = kept_for(model, _Solver)
    start = solver.position()
    before = solver.loss_and_gradient.get_concrete_function(batches.data, start)(batches.data, start)[0].numpy()
    if not np.isfinite(before):
        raise ValueError(f"The loss at the start is {before}: give the model weights at which it is finite.")
    if tolerance is None:
        tolerance = 1e-9 if start.dtype == tf.float64 else 1e-5
    result, iterations, gain = _search(solver, batches.data, start, tolerance, max_iterations)
    if not np.all(np.isfinite(result.position)):
        solver.assign(start)
        raise FloatingPointError("The search left the numbers that are finite: the weights are those of the start.")

    history = keras_of(model).callbacks.History()
    history.set_model(model)
    history.num_iterations = iterations
    history.epoch = [0, history.num_iterations]
    history.history = {"loss": [float(before), float(result.objective_value)]}
    history.converged, history.message = _verdict(result, iterations, tolerance, gain)
    if history.converged or result.failed or result.converged:  # not where it was cut short
        reason = _unbounded(lambda w: float(solver.loss_and_gradient(batches.data, tf.constant(w))[0]), start, result)
        if reason:
            history.converged, history.message = False, reason
    solver.assign(result.position)
    model.history = history
    return history


def _search(solver, data, position, tolerance, max_iterations):
    """The last result of L-BFGS, the iterations of all, and what one more step would gain.

    Where L-BFGS ends with a gradient that is not small, as it does in float32 along a narrow valley, it begins anew
    behind a step of Newton's method, until such a step does not lower the loss.
    """
    iterations = 0
    while True:
        arguments = data, position, tf.constant(tolerance, position.dtype), tf.constant(max_iterations - iterations)
        result = solver.minimize.get_concrete_function(*arguments)(*arguments)
        iterations += int(result.num_iterations)
        if tf.reduce_max(tf.abs(result.objective_gradient)) <= tolerance:
            return result, iterations, 0.0
        position, gain = _newton_step(solver, data, result)
        if position is None or iterations >= max_iterations:
            return result, iterations, gain
        iterations += 1


def _newton_step(solver, data, result):
    """Where a step of Newton's method lowers the loss, or None, and how far it would if the loss were quadratic.

    The step is `H^-1 g` for the exact Hessian, scaled to a unit diagonal so that the units of the inputs do not matter;
    L-BFGS's own knows the directions of its last steps only. For many weights, or where TensorFlow has no second
    derivative, it is not known, nor what it would gain.
    """
    w, dtype = result.position.numpy().astype(np.float64), result.position.dtype
    loss, eps = float(result.objective_value), np.finfo(dtype.as_numpy_dtype).eps
    if len(w) > _FEW:
        return None, np.inf
    try:
        curvature = solver.curvature.get_concrete_function(data, result.position, result.position)
    except (LookupError, NotImplementedError):
        return None, np.inf
    hessian = np.array([curvature(data, result.position, row) for row in tf.eye(len(w), dtype=dtype)], np.float64)
    if not np.all(np.isfinite(hessian)):
        return None, np.inf
    diagonal = np.abs(np.diag(hessian))
    scales = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    bends, axes = np.linalg.eigh((hessian + hessian.T) / 2 / np.outer(scales, scales))
    slopes = axes.T @ (result.objective_gradient.numpy() / scales)
    least = len(w) * eps * np.abs(bends).max()  # of what is less flat than its rounding error
    bent = np.maximum(np.abs(bends), least)
    gain = np.sum(slopes**2 / bent) / 2 if bends.min() > -least else np.inf
    step = axes @ (slopes / bent) / scales
    for scale in 0.25 ** np.arange(10):
        position = tf.constant(w - scale * step, dtype)
        if float(solver.loss_and_gradient(data, position)[0]) < loss - _rounding(result):
            return position, gain
    return None, gain


class _Solver:
    """A model's weights as one vector, its loss as a function of it, and the program that minimises it."""

    def __init__(self, model):
        self._model = weakref.proxy(model)
        self._weights = [variable_of(w) for w in model.trainable_variables]
        self._dtype = tf.float64 if any(w.dtype == tf.float64 for w in self._weights) else tf.float32
        self.loss_and_gradient = tf.function(self._loss_and_gradient, autograph=False)
        self.curvature = tf.function(self._curvature, autograph=False)
        self.minimize = tf.function(self._minimize, autograph=False)

    def position(self):
        return self._flat(self._weights)

    def assign(self, position):
        blocks = tf.split(position, [w.shape.num_elements() for w in self._weights])
        for weight, block in zip(self._weights, blocks, strict=True):
            weight.assign(tf.cast(tf.reshape(block, weight.shape), weight.dtype))

    def _loss_and_gradient(self, data, position):
        x, y, sample_weight = [*data, None, None][:3]
        self.assign(position)
        with tf.GradientTape() as tape:
            outputs = self._model(x, training=False)
            loss = self._model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=sample_weight)
        gradients = tape.gradient(loss, self._weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return tf.cast(loss, self._dtype), self._flat(gradients)

    def _curvature(self, data, position, direction):
        """The Hessian times a direction."""
        with tf.GradientTape() as tape:
            _, gradient = self._loss_and_gradient(data, position)
            slope = tf.tensordot(gradient, direction, 1)
        curved = tape.gradient(slope, self._weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return self._flat(curved)

    def _minimize(self, data, start, tolerance, max_iterations):
        return tfp.optimizer.lbfgs_minimize(
            lambda position: self.loss_and_gradient(data, position),
            start,
            tolerance=tolerance,
            max_iterations=max_iterations,
            num_correction_pairs=20,
        )

    def _flat(self, values):
        return tf.concat([tf.reshape(tf.cast(tf.convert_to_tensor(v), self._dtype), [-1]) for v in values], 0)


def _verdict(result, iterations, tolerance, gain):
    """Whether the result is an optimum, and why the search ended."""
    gradient = float(tf.reduce_max(tf.abs(result.objective_gradient)))
    found = f"after {iterations} iterations the largest element of the gradient is {gradient:.1e}"
    if gradient <= tolerance:
        return True, f"{found}, within the tolerance of {tolerance:.1e}"
    if gain <= _rounding(result):
        return True, f"{found}, and a further step would lower the loss by less than its rounding error"
    if not (result.failed or result.converged):
        return False, f"{found}, more than the tolerance of {tolerance:.1e}: raise `max_iterations`"
    return False, f"{found}, but no lower loss was found: standardise the inputs, or compute in float64"


def _rounding(result):
    """The rounding error of the loss."""
    loss = result.objective_value.numpy()
    return 4 * np.finfo(loss.dtype).eps * abs(float(loss))


def _unbounded(loss, start, result):
    """Why the optimum is at infinity, or None where it is not.

    A minimum is as steep on one side as on the other, close to it: a distance that raises the loss by the root of its
    rounding error is close. Where the loss rises so behind the result and not ahead, along the last step or along all
    of the way, it falls for ever. And where the loss falls without bound, as a scale goes to 0 in an exact fit, the
    search ends where the residuals are the rounding errors of the weights.
    """
    w, steps = result.position.numpy(), result.position_deltas.numpy()
    lowest, way, eps = float(result.objective_value), w - start.numpy(), np.finfo(w.dtype).eps
    if loss(w * (1 + 2 * eps * np.resize(np.array([1, -1], w.dtype), len(w)))) > lowest + 10 * eps * (1 + abs(lowest)):
        return (
            "the weights are exact to their last digit: the fit is exact, so that the loss falls without bound as a "
            "scale goes to 0 (give the head a `floor`), or the inputs are too large for their dtype (standardise them)"
        )
    rise, longest = np.sqrt(eps) * (1 + abs(lowest)), np.linalg.norm(way)
    for direction in (steps[-1], way):
        length = np.linalg.norm(direction)
        move = direction * (1e-3 * longest / length if length else 0)
        while 0 < np.linalg.norm(move) < longest and loss(w - move) <= lowest + rise:
            move = 2 * move
        if loss(w - move) > lowest + rise and loss(w + move) < lowest + rise / 10:
            return (
                "the optimum is at infinity: the loss goes on falling as the weights grow, as it does where classes "
                "can be separated: penalise the weights"
            )
    return None
