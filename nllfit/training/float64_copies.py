"""Copies of a model that compute in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.keras_models import is_keras_code, variable_of
from nllfit.training.tensorflow_memory import drop_kernels

__all__ = ["ROUNDING", "copy_in_float64", "copy_weights"]

# `_losses_agree` compares the losses of a model and its copy at the weights of the model, and again after each weight
# has changed by at most this number. The first comparison misses a penalty that is 0 at the weights of the model.
_MAX_WEIGHT_CHANGE = 0.1
# The largest difference of two losses, relative to `1 + abs(loss)`, that rounding errors in float32 explain.
ROUNDING = 1e-5


def copy_in_float64(model: Model, data: tuple | None, loss: Callable) -> Model | None:
    """Returns a compiled copy of a model that computes in float64, or None if the model cannot be copied.

    A copy is made from the configs of the layers. A config lacks what a user added later, such as an attribute or the
    penalty of an `add_loss`. To detect such an omission, a second copy is made, which computes in the dtypes of the
    model. If the losses of the model and of the second copy differ by more than rounding, the result is None.

    Args:
      model: a compiled model.
      data: the data at which the losses are compared, or None if the configs are known to be complete.
      loss: a function of a model and the data.
    """
    if not is_keras_code(type(model).compute_loss):
        return None
    adapter = adapter_of(model)
    try:
        twin = _copied(model, _with_float64)
        adapter.compile_in_float64(twin)
        # The attribute `trainable` of a variable of Keras 3 is not in a config.
        if _trainable_shapes(twin) != _trainable_shapes(model):
            return None
        if data is not None:
            copy_weights(model, twin)
            _value(loss, twin, data)  # raises if a layer cannot compute in float64
            same_dtype_copy = _copied(model, lambda config: config)
            drop_kernels(len(same_dtype_copy.variables))
            adapter.compile_copy(same_dtype_copy)
            if not _losses_agree(model, same_dtype_copy, data, loss):
                return None
    except Exception:  # a user's layer may fail in any way on its config
        return None
    return twin


def copy_weights(model: Model, copy: Model) -> None:
    """Sets the weights of a copy to the weights of a model.

    The preprocessing layers of the copy then recompute their constants from these weights.
    """
    copy.set_weights(model.get_weights())
    for layer in adapter_of(copy).layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def _copied(model, change_config):
    """Returns a copy of a model. Each layer is created from `change_config(config)`, where `config` is its config."""
    keras = adapter_of(model).keras

    def copied(layer):
        if isinstance(layer, keras.Model):
            return adapter_of(layer).clone(copied)
        return type(layer).from_config(change_config(layer.get_config()))

    return copied(model)


def _trainable_shapes(model):
    return [variable_of(weight).shape for weight in model.trainable_variables]


def _with_float64(config: Any) -> Any:
    """Replaces each float dtype, or dtype policy, in a layer's config by float64."""
    if isinstance(config, list | tuple):
        return type(config)(map(_with_float64, config))
    if not isinstance(config, dict):
        return config
    changed = {key: _with_float64(value) for key, value in config.items()}
    if "dtype" in config and "float" in str(config["dtype"]):
        changed["dtype"] = "float64"
    return changed


def _losses_agree(model, copy, data, loss):
    """Whether a model and its copy in the same dtypes have equal losses, at the weights of the model and near them."""
    initial_weights = model.get_weights()
    try:
        for scale in (0.0, _MAX_WEIGHT_CHANGE):
            for weight in map(variable_of, model.trainable_variables):
                change = scale * np.cos(np.arange(weight.shape.num_elements())).reshape(weight.shape)
                weight.assign_add(tf.cast(change, weight.dtype))
            copy_weights(model, copy)
            model_loss, copy_loss = _value(loss, model, data), _value(loss, copy, data)
            if not np.isclose(copy_loss, model_loss, rtol=ROUNDING, atol=ROUNDING, equal_nan=True):
                return False
    finally:
        model.set_weights(initial_weights)
    return True


def _value(loss, model, data):
    try:
        return float(loss(model, data))
    except tf.errors.InvalidArgumentError:  # a head raises an error for parameters that are not finite
        return np.nan
