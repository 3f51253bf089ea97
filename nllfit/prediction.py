"""Evaluation: what a trained model says of a whole data set."""

from typing import Any

import tensorflow as tf

from nllfit.kerases import Model, distribution_of, keras_of

__all__ = ["predict_distribution"]


def predict_distribution(model: Model, x: Any, batch_size: int = 32) -> Any:
    """The distribution of every row of a data set, computed in batches.

    It is `model(x)` for data that are too many for one call. Keras's `predict` does the batches; what it gathers are
    the heads' parameters, of which the distribution is then made anew.

    Args:
      model: a model of tf_keras or of Keras 3 that ends in one head or several.
      x: inputs as `predict` takes them: arrays, a structure of them, or a `tf.data.Dataset`.
      batch_size: rows a call; for a dataset, which has its own batches, it is not used.

    Returns:
      A `tfd.Distribution` of batch `[n]` and the head's event; for several outputs the model's own structure of them.

    Raises:
      TypeError: if an output of the model is no head.
      ValueError: if `x` has no rows.

    Example:
      >>> predict_distribution(model, x, batch_size=1024).stddev().shape
      TensorShape([4, 1])
    """
    if not isinstance(x, tf.data.Dataset) and min(len(rows) for rows in tf.nest.flatten(x)) == 0:
        raise ValueError("`x` has no rows: there is nothing to predict.")
    parameters, origins = _parameters(model)
    batches = None if isinstance(x, tf.data.Dataset) else batch_size
    params = parameters.predict(x, batch_size=batches, verbose=0)
    return tf.nest.map_structure(
        lambda origin, values: origin.family.distribution(values, origin.shared), origins[-1], params
    )


def _parameters(model):
    """A model with the parameters of the heads for outputs, which `predict` can join over batches, and their origins.

    The origins are a list that the first batch fills.
    """
    origins = []

    base: Any = keras_of(model).Model

    class Parameters(base):
        def __init__(self):
            super().__init__()
            self.model = model

        def call(self, inputs):
            origins.append(tf.nest.map_structure(_origin, self.model(inputs, training=False)))
            return tf.nest.map_structure(lambda origin: origin.params, origins[-1])

    return Parameters(), origins


def _origin(output):
    origin = getattr(distribution_of(output), "origin", None)
    if origin is None:
        raise TypeError(
            f"The model's output is a {type(output).__name__}, not a distribution: end the model in a head, such as "
            f"`nllfit.heads.Normal(1)`."
        )
    return origin
