"""Heads for Keras 3: layers, usually the last of a model, whose output is a tensor with the attribute `distribution`.

The heads have the same names and arguments as the heads for tf_keras in `nllfit.heads`, but do not take
`input_shape`, `batch_input_shape` and `batch_size`. Examples in their docstrings use the output as a distribution, as
in tf_keras. In Keras 3, use the attribute `distribution` of the output. A head computes in the dtype of its input, or
in float32 if the input has 16 bits.

Besides the arguments of its family, every head takes:

- `as_tensor`: "mean" or "sample". The head returns the distribution's `central_value`, or one draw for each row, in
  training and in `predict`. The gradient flows through the draw, so the head can be a latent variable inside a network.
- `activity_regularizer`: None, or `nllfit.KLDivergence(prior)`. The head adds the divergence to the loss of each batch.
- `seed`: the seed of the draws. By default it is drawn from Python's generator, which Keras's `set_random_seed` seeds.

    >>> from nllfit import keras3
    >>> keras3.heads.Normal(scale=1.0)(tf.zeros([8, 1])).distribution.log_prob(tf.zeros([8, 1])).shape
    TensorShape([8])
"""

import keras
import tensorflow as tf

from nllfit.adapters.keras3 import Drawing
from nllfit.adapters.tensorflow import mask_of
from nllfit.adapters.tensorflow_probability import forget_graph
from nllfit.families.head_base import traced_distribution
from nllfit.families.head_classes import HEADS, no_head
from nllfit.families.law import law_of
from nllfit.shared_classes import completed

__all__ = [mixin.__name__ for mixin in HEADS]


class _SymbolicPrediction(keras.KerasTensor):
    """The symbolic output of a head while a functional model is built. It has a shape, but no distribution."""

    @property
    def distribution(self):
        raise AttributeError(
            "The output of a head has no `distribution` while a functional model is built: the next layer receives a "
            'tensor, a draw if the head has `as_tensor="sample"` and else the distribution\'s mean. If a layer needs '
            "the distribution, write a layer of your own and call the head in its `call` method. After training, use "
            "`nllfit.predict_distribution(model, x)`."
        )


class _Layer(Drawing, keras.layers.Layer):
    keras_package = "keras"
    layer_arguments: tuple[str, ...] = ("name", "dtype", "trainable")

    def build(self, input_shape):
        if self.family.shared:
            shape = [self.family.shared_size]
            self._shared = self.add_weight(name="shared", shape=shape, initializer="zeros", autocast=False)
        if self.regularizer is not None:
            self._build_regularizer()

    def _build_regularizer(self):
        self.regularizer.build()
        if self.regularizer.num_learned:
            shape = [self.regularizer.num_learned]
            self._learned = self.add_weight(shape, "random_normal", name="prior", autocast=False)
        if self.regularizer.counts_steps:
            of_one_replica = {"aggregation": "only_first_replica"}
            self._step = self.add_weight([], "zeros", "int64", trainable=False, name="step", **of_one_replica)

    @staticmethod
    def _restored(value):
        return keras.saving.deserialize_keras_object(value) if isinstance(value, dict) else value

    @staticmethod
    def _saved(value):
        return keras.saving.serialize_keras_object(value)

    def call(self, inputs, training=None):
        distribution = traced_distribution(self.family, inputs, self._shared)
        value = self._value(distribution)
        prediction = tf.identity(value)  # a copy: `value` may be a parameter, such as `loc`
        prediction.distribution = distribution
        self._add_term(distribution, mask_of(inputs), training)
        forget_graph()
        return prediction

    def compute_output_spec(self, inputs, **kwargs):
        with tf.init_scope():
            width = [size or 0 for size in inputs.shape[-1:]]  # an unknown size becomes 0, which is refused
            params, shared = tf.zeros(width, inputs.dtype), tf.zeros([self.family.shared_size])
            distribution = traced_distribution(self.family, params, shared)
            is_sample = self.as_tensor == "sample"
            prediction = distribution.sample() if is_sample else law_of(distribution).central_value()
        return _SymbolicPrediction([*inputs.shape[:-1], *prediction.shape], prediction.dtype.name)

    def compute_output_shape(self, input_shape):
        return self.compute_output_spec(keras.KerasTensor(input_shape)).shape

    def get_config(self):
        return keras.layers.Layer.get_config(self) | self._plain_arguments() | self._options()


_classes = [completed(mixin, _Layer, keras=keras, package="nllfit", module=__name__) for mixin in HEADS]
globals().update(zip(__all__, _classes, strict=True))


def __getattr__(name):
    raise no_head(__name__, name)
