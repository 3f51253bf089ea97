"""The negative log-likelihoods of a regression's rows, and their derivatives with respect to the linear predictors.

TensorFlow traces the functions only once for each family, because tracing takes longer than a fit to a thousand rows.
The trace accepts any number of rows. Censored outcomes have one trace for each kind of observation (exact,
right-censored, and so on). Each trace contains only the formula of its kind.
"""

import numpy as np
import tensorflow as tf

from nllfit.adapters.tensorflow import trace
from nllfit.families.family_base import ParametricFamily
from nllfit.model_caches import shared_by

__all__ = ["RowLosses"]


class RowLosses:
    """The losses of all rows in nats, as functions of the linear predictors `[n, params_size]`."""

    def __init__(self, family: ParametricFamily, y: np.ndarray):
        unchecked = family.holding({"validate_args": False})
        self._size = len(y)
        self._groups = [(rows, tf.constant(y[rows]), _cached_functions(kind)) for kind, rows in unchecked.by_kind(y)]

    def losses(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the losses `[n]`. A loss is NaN if a parameter is outside its domain."""
        (losses,) = self._of_all_rows("losses", numbers)
        return losses

    def derivatives(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the gradients `[n, P]` and the Hessians `[n, P, P]` of the losses.

        The derivatives of a row's loss are with respect to the `P` linear predictors of the row.
        """
        gradients, hessians = self._of_all_rows("derivatives", numbers)
        return gradients, hessians

    def _of_all_rows(self, name: str, numbers: np.ndarray) -> list[np.ndarray]:
        """Calls the traced function `name` for all rows. Returns its results in the order of the rows."""
        if len(self._groups) == 1:
            ((_, y, functions),) = self._groups
            return [value.numpy() for value in functions[name](tf.constant(numbers), y)]
        results: list[np.ndarray] = []
        for rows, y, functions in self._groups:
            values = functions[name](tf.constant(numbers[rows]), y)
            results = results or [np.empty([self._size, *value.shape[1:]]) for value in values]
            for result, value in zip(results, values, strict=True):
                result[rows] = value
        return results


def _cached_functions(family):
    return shared_by(("row losses", family), lambda: _traced(family))


def _traced(family):
    """Traces the functions of a family. Returns a dict of concrete functions.

    The dict does not contain `tf.function`s, because TensorFlow would warn of retracing if many families each had one.
    """
    zero, size = tf.UnconnectedGradients.ZERO, family.params_size
    specs = tf.TensorSpec([None, size], tf.float64), tf.TensorSpec([None, *family.event_shape], tf.float64)

    def losses(numbers, y):
        return (-family.distribution(numbers).log_prob(y),)

    def derivatives(numbers, y):
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(numbers)
            with tf.GradientTape() as inner:
                inner.watch(numbers)
                values = losses(numbers, y)
            gradients = inner.gradient(values, numbers, unconnected_gradients=zero)
            columns = tf.unstack(gradients, axis=-1)
        return gradients, tf.stack([outer.gradient(c, numbers, unconnected_gradients=zero) for c in columns], 1)

    functions = {"losses": losses, "derivatives": derivatives}
    return {name: trace(tf.function(f, autograph=False), *specs) for name, f in functions.items()}
