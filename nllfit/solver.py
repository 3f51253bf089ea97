"""Solving: `fit_lbfgs`, the optimum of a model small enough to be solved rather than trained."""

import weakref

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.batches import batches_of
from nllfit.checks import check_integers, float_dtype, keras_of, outcome_check
from nllfit.programs import kept_for, tensorflow_variable

__all__ = ["fit_lbfgs"]


def fit_lbfgs(model, x, y=None, *, sample_weight=None, class_weight=None, max_iterations=1000, tolerance=None):
    """Minimises a compiled model's loss over all the data at once, by L-BFGS.

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
      which says why it stopped, and `num_iterations`.

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
    keras = keras_of(model)
    check_integers(max_iterations=max_iterations)
    floatx = float_dtype(model, keras)
    batches = batches_of(
        x, y, sample_weight, class_weight=class_weight, floatx=floatx, batch_size=2**62, steps=None, seed=None
    )
    batches.check(outcome_check(model, batches.first, "y"))
    model(tf.nest.map_structure(lambda t: t[:1], batches.data[0]), training=False)  # builds what is not built yet
    solver = kept_for(model, _Solver)
    start = solver.position()
    before = solver.loss_and_gradient.get_concrete_function(batches.data, start)(batches.data, start)[0].numpy()
    if not np.isfinite(before):
        raise ValueError(f"The loss at the start is {before}: give the model weights at which it is finite.")
    if tolerance is None:
        tolerance = 1e-9 if start.dtype == tf.float64 else 1e-5
    arguments = batches.data, start, tf.constant(tolerance, start.dtype), tf.constant(max_iterations)
    result = solver.minimize.get_concrete_function(*arguments)(*arguments)
    if not np.all(np.isfinite(result.position)):
        solver.assign(start)
        raise FloatingPointError("The search left the numbers that are finite: the weights are those of the start.")
    solver.assign(result.position)

    history = keras.callbacks.History()
    history.set_model(model)
    history.num_iterations = int(result.num_iterations)
    history.epoch = [0, history.num_iterations]
    history.history = {"loss": [float(before), float(result.objective_value)]}
    history.converged, history.message = _verdict(result, tolerance)
    model.history = history
    return history


class _Solver:
    """A model's weights as one vector, its loss as a function of it, and the program that minimises it."""

    def __init__(self, model):
        self._model = weakref.proxy(model)
        self._weights = [tensorflow_variable(w) for w in model.trainable_variables]
        self._dtype = tf.float64 if any(w.dtype == tf.float64 for w in self._weights) else tf.float32
        self.loss_and_gradient = tf.function(self._loss_and_gradient, autograph=False)
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


def _verdict(result, tolerance):
    """Whether the result is an optimum, and why the search ended."""
    loss, gradient = result.objective_value.numpy(), float(tf.reduce_max(tf.abs(result.objective_gradient)))
    found = f"after {int(result.num_iterations)} iterations the largest element of the gradient is {gradient:.1e}"
    if gradient <= tolerance:
        return True, f"{found}, within the tolerance of {tolerance:.1e}"
    if _promised_decrease(result) <= 4 * np.finfo(loss.dtype).eps * abs(loss):
        return True, f"{found}, and a further step would lower the loss by less than its rounding error"
    if not (result.failed or result.converged):
        return False, f"{found}, more than the tolerance of {tolerance:.1e}: raise `max_iterations`"
    return False, f"{found}, but no lower loss was found: standardise the inputs, or compute in float64"


def _promised_decrease(result):
    """`g' H g / 2`, with the inverse Hessian H of L-BFGS: what a step would gain if the loss were quadratic."""
    gradient = result.objective_gradient.numpy().astype(np.float64)
    pairs = zip(result.position_deltas.numpy(), result.gradient_deltas.numpy(), strict=True)
    pairs = [(s.astype(np.float64), y.astype(np.float64)) for s, y in pairs if s @ y > 0]
    if not pairs:
        return np.inf
    direction, steps = gradient.copy(), []
    for s, y in reversed(pairs):
        steps.append(s @ direction / (s @ y))
        direction -= steps[-1] * y
    direction *= pairs[-1][0] @ pairs[-1][1] / (pairs[-1][1] @ pairs[-1][1])
    for (s, y), step in zip(pairs, reversed(steps), strict=True):
        direction += (step - y @ direction / (s @ y)) * s
    return gradient @ direction / 2
