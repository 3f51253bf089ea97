"""Prediction: the distributions that a trained model gives a whole data set."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nllfit.families.head import Origin
from nllfit.kerases import Model, distribution_of, keras_of

__all__ = ["joined_origins", "origin_of", "predict_distribution"]


def predict_distribution(model: Model, x: Any, batch_size: int = 32) -> Any:
    """The distribution of every row of a data set, computed in batches.

    It is `model(x)` for data that are too many for one call. Keras's `predict` does the batches; what it gathers are
    the heads' parameters, of which the distribution is then made anew.

    Args:
      model: a model of tf_keras or of Keras 3 that ends in one head or several; an `Ensemble`; a model with a map of
        `nllfit.calibration`.
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
    if hasattr(model, "predict_distribution"):  # it is more than one model of Keras
        return model.predict_distribution(x, batch_size)
    (origins,) = joined_origins([model], x, batch_size)
    return tf.nest.map_structure(lambda origin: origin.family.distribution(origin.params, origin.shared), origins)


def joined_origins(models: Sequence[Model], x: Any, batch_size: int = 32) -> list:
    """For each model the origins of its heads' distributions, with the parameters of all rows in one tensor.

    The models, all of one Keras, see the same rows in one pass, as they must where a dataset shuffles.
    """
    if not isinstance(x, tf.data.Dataset) and min(len(rows) for rows in tf.nest.flatten(x)) == 0:
        raise ValueError("`x` has no rows: there is nothing to predict.")
    seen: list = []  # of each batch that is traced
    base: Any = keras_of(models[0]).Model

    class Parameters(base):
        """The models, with the parameters of their heads for outputs, which `predict` can join over batches."""

        def __init__(self):
            super().__init__()
            self.models = list(models)

        def call(self, inputs):
            outputs = [model(inputs, training=False) for model in self.models]
            seen.append(tf.nest.map_structure(origin_of, outputs))
            return tf.nest.map_structure(lambda origin: origin.params, seen[-1])

    batches = None if isinstance(x, tf.data.Dataset) else batch_size
    params = Parameters().predict(x, batch_size=batches, verbose=0)
    return tf.nest.map_structure(
        lambda origin, values: Origin(origin.family, tf.convert_to_tensor(values), origin.shared),
        seen[-1],
        list(params),
    )


def origin_of(output: Any) -> Origin:
    """What a head made the distribution of its output of; a `TypeError` for the output of any other layer."""
    origin = getattr(distribution_of(output), "origin", None)
    if origin is None:
        raise TypeError(
            f"The model's output is a {type(output).__name__}, not a distribution: end the model in a head, such as "
            f"`nllfit.heads.Normal(1)`."
        )
    return origin
