"""Computes the loss of a model for all data, and its gradient and curvature, as functions of the model's weights."""

import contextlib
import threading
import weakref
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.keras_models import trainable_flags, variable_of, variables_of
from nllfit.adapters.tensorflow import operations_of, trace
from nllfit.data_checks import CHUNK_BYTES, num_bytes, num_rows, specs_of_rows
from nllfit.model_caches import kept_for, shared_by
from nllfit.model_inputs import refusal_of
from nllfit.training.architecture import architecture_of
from nllfit.training.float64_copies import ROUNDING, copy_in_float64, copy_weights
from nllfit.training.tensorflow_memory import drop_kernels

__all__ = ["Surface", "assign", "flat_weights", "set_weights", "surface_over"]

# The largest product of the number of rows and the number of directions in one call of `_curvature`.
_BLOCK = 2**21


class Surface:
    """A model's loss over all the data as a function of its weights.

    If the model can be copied, a copy computes the loss in float64. Near an optimum, the loss depends on the square of
    the error of the weights, so a loss in float32, which has seven digits, would determine the weights only to three
    or four digits. A model that is subclassed, overrides `compute_loss`, or differs from its copy (see
    `copy_in_float64`) computes in its own dtype. A model in float64 needs no copy, unless several models share the
    surface.

    All models of one architecture can share a surface and its copy (see `surface_over`). One trace is used for any
    number of rows.

    Args:
      model: a compiled model.
      data: the data for which the loss of the model is compared with the loss of its copy. None for a surface that
        several models share: they need no comparison, because `architecture_of` refuses models whose configs are
        incomplete.

    Attributes:
      dtype: the dtype of the loss.
    """

    def __init__(self, model: Model, data: tuple | None = None):
        model_dtype = _dtype_of(model)
        self._dtypes = [(variable_of(w).dtype, variable_of(w).shape) for w in model.trainable_variables]
        needs_no_copy = model_dtype == tf.float64 and data is not None
        self._twin = None if needs_no_copy else copy_in_float64(model, data, self.objective)
        self._model = self._twin or weakref.proxy(model)
        drop_kernels(len(model.variables) + len(self._twin.variables if self._twin else ()))
        self._weights = [variable_of(w) for w in self._model.trainable_variables]
        self.dtype = tf.float64 if self._twin else model_dtype
        self._loss = tf.function(self._loss_and_gradient, autograph=False)
        self._curved = tf.function(self._curvature, autograph=False)
        self._descent = tf.function(self._minimize, autograph=False)
        self._uses_differences: bool | None = None
        self._lock = threading.Lock()
        self._data: tuple = ()
        self._specs: tuple = ()
        self._cached_program: Any = None  # cached, because TensorFlow's lookup of a trace takes as long as a call

    @contextlib.contextmanager
    def over(self, model: Model, data: tuple) -> Iterator[None]:
        """A context in which this surface computes the loss of `model` for `data`.

        If a copy of the model computes the loss, the copy gets all weights of `model`, because the methods below set
        only the trainable weights of the copy.
        """
        with self._lock:
            if self._twin is not None:
                copy_weights(model, self._twin)
            self._data = data
            self._specs = specs_of_rows(data)
            try:
                yield
            finally:
                self._data, self._specs, self._cached_program = (), (), None

    def has_copy_of(self, model: Model) -> bool:
        """Whether the loss is computed by a copy, and this copy may be used for `model`.

        It may be used if the copy and `model` have equal penalties at equal weights.
        """
        if self._twin is None:
            return False
        with self._lock:
            copy_weights(model, self._twin)
            copied, expected = ([float(p()) for p in adapter_of(m).penalties] for m in (self._twin, model))
        return len(copied) == len(expected) and np.allclose(copied, expected, rtol=ROUNDING)

    @property
    def eps(self) -> float:
        """The relative rounding error of the loss."""
        return float(np.finfo(self._program().structured_outputs[0].dtype.as_numpy_dtype).eps)

    @property
    def curvature_eps(self) -> float:
        """The relative error of the Hessian. Central differences of the gradient lose a third of the digits."""
        return self.eps ** (2 / 3) if self._uses_differences else self.eps

    @property
    def num_rows(self) -> int:
        """The number of rows of the data."""
        return num_rows(self._data)

    def value_and_gradient(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss at weights `[p]` and its gradient, `[p]`."""
        try:
            value, gradient = self._program()(self._data, tf.constant(w, self.dtype))
        except tf.errors.InvalidArgumentError:  # a head raises an error for parameters that are not finite
            return np.nan, np.full(len(w), np.nan)
        return float(value), gradient.numpy().astype(np.float64)

    def _program(self):
        if self._cached_program is None:
            size = sum(w.shape.num_elements() for w in self._weights)
            program = trace(self._loss, self._specs, tf.TensorSpec([size], self.dtype))
            if any("Random" in operation for operation in operations_of(program)):
                raise ValueError(
                    '`model` draws random numbers when it predicts, as a head with `as_tensor="sample"`, uncertain '
                    "weights or dropout with `training=True` do, so that its loss differs from call to call and has no "
                    "curvature to measure: train it with `nllfit.fit`."
                )
            self._cached_program = program
        return self._cached_program

    def value(self, w: np.ndarray) -> float:
        """The loss at weights `[p]`."""
        return self.value_and_gradient(w)[0]

    def rounded(self, w: np.ndarray) -> np.ndarray:
        """Weights `[p]`, rounded to the dtypes of the model."""
        blocks = np.split(w, np.cumsum([shape.num_elements() for _, shape in self._dtypes])[:-1])
        cast = [tf.cast(block, dtype) for block, (dtype, _) in zip(blocks, self._dtypes, strict=True)]
        return np.concatenate([block.numpy().astype(np.float64) for block in cast])

    def curvature(self, w: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Returns the Hessian at the weights `w` `[p]`, multiplied by the directions `[p, m]`."""
        if self._uses_differences is None:  # TensorFlow's second derivatives of loops are slow, wrong or missing
            self._uses_differences = any("While" in operation for operation in operations_of(self._program()))
        if self._uses_differences:
            return self._differences(w, directions)
        count, specs = max(1, _BLOCK // self.num_rows), tf.TensorSpec([None, len(w)], self.dtype)
        position = tf.constant(w, self.dtype)
        try:
            program = trace(self._curved, self._specs, position, specs)
        except (LookupError, NotImplementedError, ValueError):  # TensorFlow has no second derivative
            self._uses_differences = True
            return self.curvature(w, directions)
        blocks = [directions.T[i : i + count] for i in range(0, directions.shape[1], count)]
        products = [program(self._data, position, tf.constant(block, self.dtype)).numpy() for block in blocks]
        return np.concatenate(products).T.astype(np.float64)

    def _differences(self, w, directions):
        """Computes the result of `curvature` by finite differences of the gradient."""
        step = np.cbrt(self.eps)
        sizes = step / np.max(np.abs(directions) / (1 + np.abs(w[:, None])), axis=0)
        moves = (directions * sizes).T
        gradients = np.array([[self.value_and_gradient(w + s * move)[1] for s in (1, -1)] for move in moves])
        return (gradients[:, 0] - gradients[:, 1]).T / (2 * sizes)

    def descend(self, w: np.ndarray, gradient: float, steps: int) -> tuple[Any, int]:
        """Runs TFP's L-BFGS from weights `[p]`. Returns TFP's result, and the number of steps taken.

        The search ends after `steps` steps, or when no element of the loss's gradient is larger, in absolute value,
        than the tolerance `gradient`.
        """
        start = tf.constant(w, self.dtype), tf.constant(gradient, self.dtype), tf.constant(steps)
        result = trace(self._descent, self._specs, *start)(self._data, *start)
        return result, int(result.num_iterations)

    def objective(self, model: Model, data: tuple) -> tf.Tensor:
        """Returns the loss of all the data as one batch."""
        x, y, sample_weight = [*data, None, None][:3]
        return model.compute_loss(x=x, y=y, y_pred=model(x, training=False), sample_weight=sample_weight)

    def _loss_and_gradient(self, data, position):
        assign(self._weights, position)
        with tf.GradientTape() as tape:
            loss = self.objective(self._model, data)
            if loss is None:  # tf_keras returns None if the model has no loss; Keras 3 raises an error
                raise ValueError("No loss to compute: give `compile` a `loss`.")
        gradients = tape.gradient(loss, self._weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return loss, self._flat(gradients)

    def _curvature(self, data, position, directions):
        with tf.GradientTape() as tape:
            _, gradient = self._loss_and_gradient(data, position)
            derivatives = tf.linalg.matvec(directions, gradient)
        products = tape.jacobian(derivatives, self._weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return tf.concat([tf.cast(tf.reshape(r, [tf.shape(directions)[0], -1]), self.dtype) for r in products], 1)

    def _minimize(self, data, start, tolerance, max_iterations):
        def objective(position):
            loss, gradient = self._loss(data, position)
            return tf.cast(loss, self.dtype), gradient  # Keras 3 may sum in float32 even if a model computes in float64

        return tfp.optimizer.lbfgs_minimize(
            objective,
            start,
            tolerance=tolerance,
            max_iterations=max_iterations,
            num_correction_pairs=20,
        )

    def _flat(self, values):
        return tf.concat([tf.reshape(tf.cast(tf.convert_to_tensor(v), self.dtype), [-1]) for v in values], 0)


_S = TypeVar("_S", bound=Surface)


@contextlib.contextmanager
def surface_over(kind: type[_S], model: Model, data: tuple) -> Iterator[_S]:
    """A context with the loss surface of a model for `data`. The surface is an instance of `kind`.

    All models of an architecture share one compiled surface. A model gets its own surface only if one of these is true:

    - `architecture_of` returns None.
    - The model cannot be copied, or the penalties of its weights differ from those of the copy.
    - The model is too large for a copy to stay in memory.
    """
    is_small = num_bytes(variables_of(model)) <= CHUNK_BYTES
    architecture = architecture_of(model, data[1] if len(data) > 1 else None) if is_small else None
    surface = None if architecture is None else shared_by((kind, architecture), lambda: kind(model))
    if surface is None or not surface.has_copy_of(model):
        surface = kept_for((kind.__name__, trainable_flags(model)), lambda: kind(model, data), model)
    with refusal_of("some row of `x`"), surface.over(model, data):
        yield surface


def _dtype_of(model: Model) -> tf.DType:
    return tf.float64 if any(variable_of(w).dtype == tf.float64 for w in model.trainable_variables) else tf.float32


def flat_weights(model: Model) -> np.ndarray:
    """The trainable weights as one vector, `[p]`."""
    return np.concatenate([np.ravel(variable_of(w).numpy()) for w in model.trainable_variables]).astype(np.float64)


def set_weights(model: Model, w: np.ndarray) -> None:
    """Sets the trainable weights to a vector `[p]` and rounds each to its dtype."""
    assign([variable_of(v) for v in model.trainable_variables], tf.constant(w, tf.float64))


def assign(weights: list, position: tf.Tensor) -> None:
    """Sets variables to the elements of a vector `[p]`."""
    blocks = tf.split(position, [w.shape.num_elements() for w in weights])
    for weight, block in zip(weights, blocks, strict=True):
        weight.assign(tf.cast(tf.reshape(block, weight.shape), weight.dtype))
