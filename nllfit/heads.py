"""Heads: the last layer of a tf_keras model, whose output is a distribution.

A head is a `tfp.layers.DistributionLambda` over a `Family`; its arguments are those of `nllfit.families.catalogue`. As
a tensor, so in `predict`, in Keras's own metrics and in an exported model, it is the distribution's `central_value`:
the mean, or the probabilities of classes. A head computes in the dtype of its input, and in float32 where that is 16
bits wide.
"""

# ruff: noqa: D101 - the docstring of a head is that of its row in the catalogue, in both Kerases

import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from nllfit.adapters.tensorflow import forget_graph, set_dtype
from nllfit.families import catalogue, compound, function_family, layer
from nllfit.families.law import law_of
from nllfit.families.layer import traced_distribution
from nllfit.families.rowwise import rowwise

__all__ = [
    "Bernoulli",
    "Beta",
    "Categorical",
    "Censored",
    "DistributionHead",
    "DistributionLambda",
    "Gamma",
    "Hurdle",
    "Laplace",
    "LogNormal",
    "Mixture",
    "MultivariateNormalTriL",
    "NegativeBinomial",
    "Normal",
    "OneHotCategorical",
    "Poisson",
    "StudentT",
    "Truncated",
    "ZeroInflated",
]

_register = tf_keras.saving.register_keras_serializable(package="nllfit")


def _prediction(distribution):
    return law_of(distribution).central_value()


class _Layer(tfp.layers.DistributionLambda):
    keras_package = "tf_keras"
    layer_arguments: tuple[str, ...] = ("name", "dtype", "trainable", "input_shape", "batch_input_shape", "batch_size")

    def __init__(self, **kwargs):
        super().__init__(self._make_distribution, _prediction, **kwargs)

    @tf.autograph.experimental.do_not_convert  # AutoGraph would take half a second to write what is under it anew
    def call(self, inputs, *args, **kwargs):
        outputs = super().call(inputs, *args, **kwargs)
        distribution = rowwise(outputs[0] if isinstance(outputs, tuple) else outputs)
        # To Keras, which casts sample weights to it, the dtype is that of the prediction and not that of a class label.
        set_dtype(distribution, tf.convert_to_tensor(distribution).dtype)
        forget_graph()
        return outputs

    def build(self, input_shape):
        if self.family.shared:
            shape = [self.family.shared_size]
            self._shared = self.add_weight("shared", shape, initializer="zeros", experimental_autocast=False)
        super().build(input_shape)

    def compute_mask(self, inputs, mask=None):
        return [mask, mask]  # for the distribution and for its value, which `DistributionLambda` returns side by side

    def get_config(self):
        return tf_keras.layers.Layer.get_config(self) | self._plain_arguments()

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)

    def _make_distribution(self, params):
        return traced_distribution(self.family, params, self._shared)


@_register
class Censored(compound.Censored, _Layer):
    pass


@_register
class DistributionLambda(function_family.DistributionLambda, _Layer):
    pass


@_register
class Hurdle(compound.Hurdle, _Layer):
    pass


@_register
class ZeroInflated(compound.ZeroInflated, _Layer):
    pass


@_register
class Truncated(compound.Truncated, _Layer):
    pass


@_register
class DistributionHead(layer.DistributionHead, _Layer):
    pass


@_register
class Bernoulli(catalogue.Bernoulli, _Layer):
    pass


@_register
class Beta(catalogue.Beta, _Layer):
    pass


@_register
class Categorical(catalogue.Categorical, _Layer):
    pass


@_register
class Gamma(catalogue.Gamma, _Layer):
    pass


@_register
class Laplace(catalogue.Laplace, _Layer):
    pass


@_register
class LogNormal(catalogue.LogNormal, _Layer):
    pass


@_register
class Mixture(catalogue.Mixture, _Layer):
    pass


@_register
class MultivariateNormalTriL(catalogue.MultivariateNormalTriL, _Layer):
    pass


@_register
class NegativeBinomial(catalogue.NegativeBinomial, _Layer):
    pass


@_register
class Normal(catalogue.Normal, _Layer):
    pass


@_register
class OneHotCategorical(catalogue.OneHotCategorical, _Layer):
    pass


@_register
class Poisson(catalogue.Poisson, _Layer):
    pass


@_register
class StudentT(catalogue.StudentT, _Layer):
    pass
