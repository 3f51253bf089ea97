"""Heads: the last layer of a tf_keras model, whose output is a distribution.

A head is a `tfp.layers.DistributionLambda` that makes the distributions of a `Family`. The docstring of each head
documents its family and arguments. Where a tensor is needed (in `predict`, in Keras's own metrics and in an exported
model), the output is converted to the distribution's `central_value`. It is the mean or, for classes, their
probabilities. If the mean is not finite, and for a `Truncated` with a fixed window, it is the median. If TFP has no
median, the mode replaces it. The `central_value` of a mixture is the weighted mean of the central values of its
components. A head computes in the dtype of its input, or in float32 if the input has 16 bits.

Besides the arguments of its family, every head takes:

- `as_tensor`: the tensor to which the output is converted: "mean" for the `central_value`, or "sample" for one draw
  from the distribution of each row, in training and in `predict`. The gradient flows through the draw, so the head can
  be a latent variable inside a network.
- `activity_regularizer`: None, or `nllfit.KLDivergence(prior)`, which the head adds to the loss once for each batch.
- `seed`: the seed of the draws. By default it is drawn from Python's generator, which Keras's `set_random_seed` seeds.
"""

import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from nllfit.adapters.keras2 import Drawing
from nllfit.adapters.tensorflow import mask_of
from nllfit.adapters.tensorflow_probability import forget_graph, made_by_head, set_dtype
from nllfit.families.broadcast_checks import rowwise
from nllfit.families.head_base import traced_distribution
from nllfit.families.head_classes import HEADS, no_head
from nllfit.shared_classes import completed

__all__ = [mixin.__name__ for mixin in HEADS]


class _Layer(Drawing, tfp.layers.DistributionLambda):
    keras_package = "tf_keras"
    layer_arguments: tuple[str, ...] = ("name", "dtype", "trainable", "input_shape", "batch_input_shape", "batch_size")

    def __init__(self, **kwargs):
        super().__init__(self._make_distribution, self._value, **kwargs)

    @tf.autograph.experimental.do_not_convert  # AutoGraph would take half a second to convert the functions called here
    def call(self, inputs, *args, training=None, **kwargs):
        outputs = super().call(inputs, *args, **kwargs)
        distribution = rowwise(outputs[0] if isinstance(outputs, tuple) else outputs)
        value = tf.convert_to_tensor(distribution)
        # Keras casts sample weights to the dtype of the distribution. An integer dtype, as
        # class labels have, would truncate the weights. So the distribution gets the dtype of the prediction.
        set_dtype(distribution, value.dtype)
        self._add_term(made_by_head(distribution), mask_of(inputs), training)
        forget_graph()
        return outputs

    def build(self, input_shape):
        if self.family.shared:
            shape = [self.family.shared_size]
            self._shared = self.add_weight("shared", shape, initializer="zeros", experimental_autocast=False)
        if self.regularizer is not None:
            self._build_regularizer()
        super().build(input_shape)

    def _build_regularizer(self):
        self.regularizer.build()
        if self.regularizer.num_learned:
            shape = [self.regularizer.num_learned]
            self._learned = self.add_weight("prior", shape, initializer="random_normal", experimental_autocast=False)
        if self.regularizer.counts_steps:
            of_one_replica = {"aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
            self._step = self.add_weight("step", [], tf.int64, "zeros", trainable=False, **of_one_replica)

    @staticmethod
    def _restored(value):
        return tf_keras.saving.deserialize_keras_object(value) if isinstance(value, dict) else value

    @staticmethod
    def _saved(value):
        return tf_keras.saving.serialize_keras_object(value)

    def compute_mask(self, inputs, mask=None):
        return [mask, mask]  # `call` has two outputs: the distribution and its value

    def get_config(self):
        return tf_keras.layers.Layer.get_config(self) | self._plain_arguments() | self._options()

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)

    def _make_distribution(self, params):
        return traced_distribution(self.family, params, self._shared)


_classes = [completed(mixin, _Layer, keras=tf_keras, package="nllfit", module=__name__) for mixin in HEADS]
globals().update(zip(__all__, _classes, strict=True))


def __getattr__(name):
    raise no_head(__name__, name)
