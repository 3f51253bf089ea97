"""The linear predictors of a family's parameters, and the Keras model that computes them."""

import dataclasses
import math

import numpy as np
import tensorflow as tf
import tf_keras

from nllfit.families.family_base import ParametricFamily
from nllfit.families.links import Softmax
from nllfit.heads import DistributionHead
from nllfit.losses import negative_log_likelihood
from nllfit.regression.designs import INTERCEPT, Design
from nllfit.regression.family_and_main_parameter import natural_values
from nllfit.training.loss_surface import set_weights

__all__ = ["Predictor", "build_model", "names_of", "places_of", "set_coefficients", "sizes"]

_DTYPE = "float64"


@dataclasses.dataclass(frozen=True)
class Predictor:
    """The linear predictor `u = x b + offset` of a parameter of the family.

    Attributes:
      parameter: the name of the parameter.
      size: the number of elements of the parameter.
      design: the design matrix of its formula, and its offset.
      start: the index of the parameter's first element in the family's vector `[params_size]` of all parameters.
      classes: for logits, the label of each element. The first class is the reference; its coefficients are 0. For
        other parameters, `classes` is empty.
      is_constant: whether the parameter has no formula. The coefficient table then shows the value of the parameter.
    """

    parameter: str
    size: int
    start: int
    design: Design
    classes: tuple[str, ...] = ()
    is_constant: bool = False

    @property
    def free(self) -> int:
        """The number of the parameter's elements that have coefficients."""
        return self.size - bool(self.classes)

    @property
    def indices(self) -> range:
        """The indices, in the family's vector, of the elements that have coefficients."""
        return range(self.start + bool(self.classes), self.start + self.size)

    @property
    def has_offset(self) -> bool:
        return self.design.offset is not None

    @property
    def has_intercept(self) -> bool:
        return INTERCEPT in self.design.names

    def inputs(self, matrix: np.ndarray, offset: np.ndarray | None) -> dict[str, np.ndarray]:
        """Returns the model's inputs for this parameter by name: the offset, and all columns except the intercept."""
        kept = [i for i, name in enumerate(self.design.names) if name != INTERCEPT]
        return {self.parameter: matrix[:, kept]} | (
            {} if offset is None else {f"{self.parameter}_offset": offset[:, None]}
        )


def sizes(family: ParametricFamily) -> dict[str, int]:
    """Returns the number of elements of each parameter. The parameters are in the order of `family.parameter_names`."""
    values = family.parameters(tf.zeros([family.params_size], tf.float64))
    num_elements = {name: math.prod(values[name].shape) for name in family.parameter_names}
    if sum(num_elements.values()) != family.params_size or family.shared:
        raise ValueError(
            f"A regression needs a scalar family without `shared` parameters, but got {family.label}: a parameter "
            f"without a formula is the same for all rows anyway."
        )
    return num_elements


def names_of(family: ParametricFamily, predictors: list[Predictor]) -> list[list[str]]:
    """Returns the names of each predictor's coefficients. Raises a `ValueError` if two names are equal."""
    natural = natural_values(family, tf.zeros([family.params_size], tf.float64))
    natural_names = dict(zip(family.parameter_names, natural, strict=True))
    blocks = []
    for index, predictor in enumerate(predictors):
        parameter, size = predictor.parameter, predictor.free
        if predictor.is_constant:
            blocks.append(
                [natural_names[parameter]] if size == 1 else [f"{natural_names[parameter]}[{i}]" for i in range(size)]
            )
            continue
        prefixes = predictor.classes[1:] or ([""] if not index else [parameter])
        prefixes = prefixes if len(prefixes) == size else [f"{parameter}[{i}]" for i in range(size)]
        columns = predictor.design.names
        blocks.append([f"{prefix}: {column}" if prefix else column for prefix in prefixes for column in columns])
    names = [name for block in blocks for name in block]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(
            f"Two coefficients would be named `{twice[0]}`, because a column of `data` has the name of a parameter of "
            f"{family.label}: rename the column."
        )
    return blocks


def is_logit_vector(family: ParametricFamily, name: str) -> bool:
    """Returns whether a parameter is a vector of logits. A common shift of logits does not change the probabilities."""
    return isinstance(family.twin(name)[1], Softmax)


def build_model(family: ParametricFamily, predictors: list[Predictor]) -> tf_keras.Model:
    """Builds a compiled model. Each parameter has a dense layer and an optional offset; the family's head follows."""
    inputs, blocks = {}, []
    for predictor in sorted(predictors, key=lambda predictor: predictor.start):
        name, columns = predictor.parameter, predictor.design.matrix.shape[1] - predictor.has_intercept
        inputs[name] = tf_keras.Input([columns], name=name, dtype=_DTYPE)
        layer = tf_keras.layers.Dense(
            predictor.free, use_bias=predictor.has_intercept, kernel_initializer="zeros", dtype=_DTYPE, name=f"{name}_"
        )
        u = layer(inputs[name])
        if predictor.has_offset:
            offset = inputs[f"{name}_offset"] = tf_keras.Input([1], name=f"{name}_offset", dtype=_DTYPE)
            u = tf_keras.layers.Add(dtype=_DTYPE)([u, offset])
        if predictor.classes:  # the logit of the first class is 0
            u = tf_keras.layers.ZeroPadding1D((1, 0), dtype=_DTYPE)(u[..., None])[..., 0]
        blocks.append(u)
    joined = tf_keras.layers.Concatenate(dtype=_DTYPE)(blocks) if len(blocks) > 1 else blocks[0]
    model = tf_keras.Model(inputs, DistributionHead(family)(joined))
    model.compile(loss=negative_log_likelihood)
    return model


def places_of(model: tf_keras.Model, predictors: list[Predictor]) -> np.ndarray:
    """Returns the index of each coefficient in the vector of trainable weights.

    Coefficients are ordered by predictor, element and column.
    """
    starts = np.cumsum([0, *[w.shape.num_elements() for w in model.trainable_weights]])
    weight_indices = {
        w.ref(): np.arange(s, e).reshape(w.shape)
        for w, s, e in zip(model.trainable_weights, starts, starts[1:], strict=False)
    }
    coefficient_indices = []
    for predictor in predictors:
        layer = model.get_layer(f"{predictor.parameter}_")
        kernel = list(weight_indices[layer.kernel.ref()])
        indices = [
            weight_indices[layer.bias.ref()] if name == INTERCEPT else kernel.pop(0) for name in predictor.design.names
        ]
        coefficient_indices += list(np.reshape(indices, [len(indices), predictor.free]).T)
    return np.concatenate(coefficient_indices)


def set_coefficients(model: tf_keras.Model, predictors: list[Predictor], coefficients: np.ndarray) -> None:
    """Sets the model's weights to coefficients `[q]`."""
    vector = np.empty(len(coefficients))
    vector[places_of(model, predictors)] = coefficients
    set_weights(model, vector)
