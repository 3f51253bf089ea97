"""Makes names for the elements of a model's weights from the names of layers, input columns and head parameters."""

import itertools
from collections.abc import Sequence
from typing import Any

from nllfit.adapters import Model, adapter_of
from nllfit.families.head_base import Head
from nllfit.model_inputs import by_input

__all__ = ["Features", "feature_names", "labels", "leading_to", "unique", "weight_names"]


Features = list[list[str] | None]  # for each input of a model, its column names, or None


def feature_names(model: Model, x: Any) -> Features:
    """Returns the column names of each input of a model, or None for an input that is not a DataFrame."""
    columns = [getattr(part, "columns", None) for part in by_input(model, x)]
    return [None if names is None else list(map(str, names)) for names in columns]


def weight_names(model: Model, features: Features) -> list[list[str]]:
    """Returns the names of the elements of each trainable weight, such as `kernel[age]` or `dense/kernel[age, loc]`.

    A name begins with the names of the layer and of the models around the layer only if two weights would otherwise
    have the same name. In the first layer, the first index of a kernel is a column name if `features` has the names. In
    the layer before the head, the last index is the name of a parameter of the head. All other indices are numbers. An
    axis of length 1 is left out.

    Args:
      model: a model that has been built.
      features: the column names of each input, or None.
    """
    weights = model.trainable_weights
    paths = [getattr(weight, "path", weight.name).split(":")[0].split("/") for weight in weights]
    depths = range(1, 1 + max(map(len, paths), default=1))
    depth = next((d for d in depths if len({tuple(path[-d:]) for path in paths}) == len(paths)), 2)
    inputs = dict(zip(map(id, getattr(model, "inputs", None) or []), features, strict=False))
    adapter = adapter_of(model)
    layers = adapter.layers
    heads = [layer for layer in layers if isinstance(layer, Head)]
    parameters = [name for head in heads for name in head.family.parameter_names]
    parameters = parameters if len(parameters) == sum(head.family.params_size for head in heads) else []
    before_heads = [layer for head in heads for layer in leading_to(head, layers, adapter.keras.layers.Add)]
    names = []
    for weight, path in zip(weights, paths, strict=True):
        owners = [layer for layer in layers if any(w is weight for w in layer.trainable_weights)]
        layer = owners[-1]  # the innermost layer that owns the weight
        indices = [list(map(str, range(size))) for size in weight.shape]
        columns = inputs.get(id(_of_graph(layer, "input")))
        if len(indices) == 2 and columns and len(columns) == len(indices[0]):
            indices[0] = columns
        if indices and len(parameters) == len(indices[-1]) > 1 and any(layer is other for other in before_heads):
            indices[-1] = parameters
        shown = [index for index in indices if index != ["0"]]
        names.append(labels("/".join(path[-depth:]), shown))
    return names


def labels(name: str, indices: Sequence[Sequence[Any]]) -> list[str]:
    """Returns labels such as `kernel[age, 0]`, one for each combination of indices, with one index from each axis.

    `indices` has a list of indices for each axis. If `indices` is empty, the only label is `name`.
    """
    return [f"{name}[{', '.join(map(str, index))}]" if index else name for index in itertools.product(*indices)]


def unique(names: Sequence[str]) -> list[str]:
    """Adds a number to every name that equals an earlier one: `["a", "a"]` becomes `["a", "a (2)"]`."""
    unique_names: dict[str, None] = {}
    for name in names:
        numbered = (f"{name} ({number})" for number in itertools.count(2))
        unique_names[next(label for label in itertools.chain([name], numbered) if label not in unique_names)] = None
    return list(unique_names)


def _of_graph(layer, end):
    """Returns the `input` or `output` tensor of a layer, or None.

    The result is None if the model is not functional or if the layer was called twice.
    """
    try:
        return getattr(layer, end)
    except (AttributeError, RuntimeError, ValueError):
        return None


def leading_to(layer: Any, layers: Sequence, addition: type) -> list:
    """Returns the layers that give their outputs to `layer`, directly or through a layer of class `addition`.

    Args:
      layer: the layer to trace back from.
      layers: all layers of the model.
      addition: the class `Add` of the model's Keras version. Such a layer adds an offset.

    Returns:
      A list of layers. It contains None for an input that does not come from any of `layers`.
    """
    tensors = _of_graph(layer, "input")
    found: list[Any] = []
    for tensor in tensors if isinstance(tensors, (list, tuple)) else [tensors]:
        producers = (b for b in layers if tensor is not None and _of_graph(b, "output") is tensor)
        # The input of a tf_keras `InputLayer` is also its output, so `layer` itself does not count.
        producer = next((b for b in producers if b is not layer), None)
        found += leading_to(producer, layers, addition) if isinstance(producer, addition) else [producer]
    return found
