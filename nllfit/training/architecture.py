"""Architecture: a key that is equal for models that can share a compiled program.

A program is traced for one model. The trace reads the layers, the optimizer, the loss and the metrics of that model.
Another model may use the program only if its own trace would be the same. The traces of two models are certainly the
same if their layers, optimizers, losses and metrics are of the same classes, have equal configs, and come from
libraries whose code does not change. A user's code may read anything, such as a global variable, so a model that
contains a user's code has no key.
"""

import functools
import inspect
import types
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.adapter import FUNCTION_ARGUMENTS
from nllfit.adapters.keras_models import build_training, is_plain, trainable_flags, training_variables

__all__ = ["architecture_of"]

_LIBRARIES = {"keras", "nllfit", "numpy", "tensorflow", "tensorflow_probability", "tf_keras"}
_STANDARD_LIBRARY = {"_thread", "builtins", "collections", "inspect", "threading", "types", "weakref"}
_FUNCTIONS = types.FunctionType, types.BuiltinFunctionType, type
# Some configs of Keras's layers, losses and metrics lack these attributes, so `_config_of` adds them.
_UNSAVED = "autocast", "dtype", FUNCTION_ARGUMENTS


class _UnknownError(Exception):
    """Raised for a layer, optimizer, loss or metric whose trace is not determined by its class and config."""


def architecture_of(model: Model, y: Any) -> Hashable | None:
    """Returns the key of a compiled model's training program, or None if the model cannot be compared with others.

    Models with equal keys have their `training_variables` in the same order. As a side effect, this function creates
    the variables that a first step on outcomes `y` would create.
    """
    if not model.built or y is None or not is_plain(model) or model.distribute_strategy.num_replicas_in_sync > 1:
        return None
    if not hasattr(model.optimizer, "build"):  # a legacy optimizer of tf_keras creates its variables in the first step
        return None
    adapter = adapter_of(model)
    if adapter.excludes_from_weight_decay:
        return None
    keras = adapter.keras
    try:
        layers = [layer for layer in adapter.layers if layer is not model]
        for part in (model, *layers):
            _check_part(part)
            if isinstance(part, keras.Sequential) and adapter.repeats_a_layer(part):
                raise _UnknownError
        compiled = _fingerprint(adapter.compile_arguments)
        build_training(model, y)
        weights = [
            (tuple(w.shape), str(w.dtype), _fingerprint(w.constraint), _fingerprint(getattr(w, "regularizer", None)))
            for w in model.variables
        ]
        return (
            keras.__name__,
            (keras.backend.floatx(), keras.backend.epsilon(), keras.backend.image_data_format()),
            tuple((type(layer), _fingerprint(_config_of(layer), named=False)) for layer in layers),
            _topology(model),
            trainable_flags(model),
            len(adapter.penalties),
            tuple(weights),
            tuple((tuple(v.shape), str(v.dtype)) for v in training_variables(model)),
            compiled,
        )
    except _UnknownError:
        return None


def _topology(model):
    """Returns the classes of the layers of a `Sequential`, or the graph of layers of a functional model.

    In the graph, numbers replace the names of the layers.
    """
    config = _config_of(model)
    if "input_layers" not in config:  # the config of a `Sequential`
        return tuple(entry["class_name"] for entry in config["layers"])
    layer_numbers = {entry["config"]["name"]: number for number, entry in enumerate(config["layers"])}
    return (
        tuple(
            (
                entry["class_name"],
                _fingerprint(entry["config"], named=False),
                _fingerprint(entry["inbound_nodes"], layer_numbers),
            )
            for entry in config["layers"]
        ),
        _fingerprint(config["input_layers"], layer_numbers),
        _fingerprint(config["output_layers"], layer_numbers),
    )


def _config_of(part):
    """Returns the config of a layer, optimizer, loss or metric, with some attributes added.

    These are the attributes in `_UNSAVED`, and the attributes with the names of constructor arguments. Raises an
    `_UnknownError` if there is no config, or if the config is incomplete.
    """
    try:
        config = part.get_config()
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:  # an activation may be a `partial`
        raise _UnknownError from error
    # In tf_keras every layer takes an `activity_regularizer`, but few configs contain it. If a config lacks it, two
    # layers with equal configs may have different losses.
    if getattr(part, "activity_regularizer", None) is not None and "activity_regularizer" not in config:
        raise _UnknownError
    kind: Any = type(part)
    arguments = {name: vars(part)[name] for name in _parameters_of(kind) if name in vars(part)}
    return arguments | {name: getattr(part, name, None) for name in _UNSAVED} | config


@functools.cache
def _parameters_of(kind):
    return tuple(inspect.signature(kind.__init__).parameters)


def _check_part(part):
    """Raises an `_UnknownError` if a layer, an optimizer, a loss or a metric is or contains a user's own code."""
    _check_value(type(part))
    if hasattr(part, "adapt"):  # the trace may contain a constant that the layer learned from data
        raise _UnknownError
    if type(part).__module__.partition(".")[0] == "tensorflow_probability":  # TFP's layers call a user's functions
        raise _UnknownError
    for value in vars(part).values():
        _check_value(value)


def _check_value(value, depth=3):
    """Raises an `_UnknownError` if a value, or an item of it, is a user's function or an instance of a user's class."""
    if isinstance(value, functools.partial):
        return _check_value([value.func, *value.args, *value.keywords.values()], depth)
    if isinstance(value, types.MethodType):
        value = value.__func__
    class_or_function = value if isinstance(value, _FUNCTIONS) else type(value)
    library = (class_or_function.__module__ or "builtins").partition(".")[0]
    if library not in _LIBRARIES and library not in _STANDARD_LIBRARY:
        raise _UnknownError
    if depth and isinstance(value, (list, tuple, set)):
        for item in value:
            _check_value(item, depth - 1)
    elif depth and isinstance(value, dict):
        for item in value.values():
            _check_value(item, depth - 1)
    elif depth and library == "nllfit" and not isinstance(value, _FUNCTIONS):
        for item in getattr(value, "__dict__", {}).values():
            _check_value(item, depth - 1)
    return None


def _fingerprint(value: Any, layer_numbers: Mapping[str, int] | None = None, named: bool = True) -> Hashable:
    """Returns a hashable fingerprint of a value.

    Args:
      value: a config, or an item of a config.
      layer_numbers: maps names of layers to numbers, because two models may give different names to the same layers.
      named: whether the fingerprint contains the item `name` of a config.
    """
    fingerprint = functools.partial(_fingerprint, layer_numbers=layer_numbers)
    if value is None or isinstance(value, (bool, int, float, complex, bytes, tf.DType)):
        return type(value).__name__, value
    if isinstance(value, str):
        return (layer_numbers or {}).get(value, value)
    if isinstance(value, tf.TensorShape):
        return tuple(value)
    if isinstance(value, (list, tuple)):
        return tuple(map(fingerprint, value))
    if isinstance(value, dict):
        return tuple((key, fingerprint(item)) for key, item in value.items() if named or key != "name")
    if isinstance(value, (np.ndarray, np.generic)) or tf.is_tensor(value):
        array = np.asarray(value)
        return str(array.dtype), array.shape, array.tobytes()
    if isinstance(value, _FUNCTIONS):
        _check_value(value)
        if getattr(value, "__closure__", None):
            raise _UnknownError
        return value
    if hasattr(value, "get_config"):
        _check_part(value)
        config = _config_of(value)
        if np.ndim(config.get("learning_rate", ())) == 0 and not isinstance(config.get("learning_rate"), (dict, str)):
            config = config | {"learning_rate": None}  # not compared, because a program reads the rate from a variable
        # The name of a metric is compared, because it is a key in the logs.
        return type(value), _fingerprint(config, layer_numbers, named=hasattr(value, "update_state"))
    raise _UnknownError
