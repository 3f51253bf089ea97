"""`Parameter` describes one parameter of a family. Functions split a vector into blocks, one for each parameter."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from nllfit.families.links import Softmax

__all__ = ["Link", "Numbers", "Parameter", "as_tensors", "blocks_of", "exponential", "identity", "vector_of"]

Numbers = dict[str, Any]
"""The values of parameters by name: numbers, arrays or tensors."""

Link = Callable[[Mapping[str, Any], tf.DType], tfb.Bijector]
"""A function `(values, dtype) -> bijector`. The bijector maps unconstrained numbers to a parameter.

`values` contains the fixed values of the family, and the values of the parameters that come before this parameter.
"""


def identity(values: Mapping[str, Any], dtype: tf.DType) -> tfb.Bijector:
    """The link of a parameter that can be any real number."""
    return tfb.Identity()


def exponential(values: Mapping[str, Any], dtype: tf.DType) -> tfb.Bijector:
    """The link `exp`. The unconstrained numbers are the logarithms of a positive parameter."""
    return tfb.Exp()


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a family.

    Attributes:
      name: TFP's name of the value that the link returns, such as `scale`, `log_rate` or `logits`.
      shape: the shape of the unconstrained numbers, without `components`.
      link: makes the bijector from the unconstrained numbers to the constrained value.
      natural: the name on the natural scale, such as `rate` or `probs`. It is empty if this name is the same as `name`.
      to_natural: makes the bijector from the constrained value to the value on the natural scale.
      shared: 0 if the parameter depends on the inputs. For a parameter that is the same for all inputs, a positive
        number, which determines the order of the parameters in the vector `shared`.
      components: `(num_components,)`, the leading axes of a parameter of a mixture; `()` for other families.
    """

    name: str
    shape: tuple[int, ...]
    link: Link = identity
    natural: str = ""
    to_natural: Callable[[], tfb.Bijector | Softmax] = tfb.Identity
    shared: int = 0
    components: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """The number of unconstrained numbers; in a mixture, the number per component."""
        return math.prod(self.shape)

    @property
    def is_logarithm(self) -> bool:
        """Whether, with the default link, the unconstrained numbers are logarithms of a positive parameter."""
        return self.link is exponential or self.to_natural is tfb.Exp


def blocks_of(vector: tf.Tensor, parameters: Iterable[Parameter]) -> dict[str, tf.Tensor]:
    """Splits a vector `[..., size]` into one block `[..., *components, *shape]` for each parameter, by name.

    In the vector, the blocks are in the order of the parameters. In a mixture, all blocks of the first component come
    before the blocks of the second.
    """
    groups = _groups(parameters)
    sizes = [math.prod(components) * sum(p.size for p in group) for components, group in groups]
    blocks = {}
    for (components, group), segment in zip(groups, _split(vector, sizes), strict=True):
        component_vectors = _with_last_axes(segment, 1, [*components, sum(p.size for p in group)])
        for parameter, block in zip(group, _split(component_vectors, [p.size for p in group]), strict=True):
            blocks[parameter.name] = _with_last_axes(block, 1, parameter.shape)
    return blocks


def vector_of(blocks: Mapping[str, tf.Tensor], parameters: Iterable[Parameter]) -> tf.Tensor:
    """Joins blocks into one vector. This function is the inverse of `blocks_of`."""
    segments = []
    for components, group in _groups(parameters):
        component_vectors = tf.concat([_with_last_axes(blocks[p.name], len(p.shape), [p.size]) for p in group], -1)
        size = math.prod(components) * sum(p.size for p in group)
        segments.append(_with_last_axes(component_vectors, 1 + len(components), [size]))
    return tf.concat(segments, -1)


def as_tensors(values: Mapping[str, Any], names: Iterable[str], dtype: tf.DType) -> dict[str, Any]:
    """Converts the values of the parameters `names` to tensors. Values that are not numbers are left out."""
    return {
        name: tf.cast(values[name], dtype) if tf.is_tensor(values[name]) else tf.convert_to_tensor(values[name], dtype)
        for name in names
        if name in values and (tf.is_tensor(values[name]) or np.asarray(values[name]).dtype.kind in "fiu")
    }


def _groups(parameters):
    """Groups adjacent parameters with the same `components`. Returns a list of pairs `(components, parameters)`."""
    return [(axes, list(group)) for axes, group in itertools.groupby(parameters, lambda p: p.components)]


def _split(tensor: tf.Tensor, sizes: Sequence[int]) -> list[tf.Tensor]:
    return [tensor] if len(sizes) == 1 else tf.split(tensor, sizes, axis=-1) if sizes else []


def _with_last_axes(tensor: tf.Tensor, rank: int, shape: Sequence[int]) -> tf.Tensor:
    """Reshapes the last `rank` axes of a tensor to `shape`."""
    if rank == len(shape) == 1:
        return tensor
    batch = tensor.shape[: tensor.shape.rank - rank]
    if batch.is_fully_defined():
        return tf.reshape(tensor, [*batch, *shape])
    return tf.reshape(tensor, tf.concat([tf.shape(tensor)[: batch.rank], tf.constant(shape, tf.int32)], 0))
