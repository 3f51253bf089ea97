"""Arguments of training, checked at the door: what raises has not touched a weight."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nllfit.families.arguments import as_count
from nllfit.kerases import Model, is_kerases_own, keras_of

__all__ = ["check_integers", "check_trainable", "epoch_callbacks"]

_BATCH_HOOKS = [f"on_{kind}batch_{end}" for kind in ("", "train_", "test_") for end in ("begin", "end")]


def check_trainable(model: Model) -> None:
    """Raises a `ValueError` for a model that is not compiled, or that only `model.fit` can train."""
    keras_of(model)
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            'The model is not compiled: call `model.compile("adam", nllfit.negative_log_likelihood)` first.'
        )
    if model.run_eagerly:
        raise ValueError("The model is compiled with `run_eagerly=True`, and `fit` runs no Python: use `model.fit`.")
    if model.distribute_strategy.num_replicas_in_sync > 1:
        raise ValueError("The model is distributed over several devices: use `model.fit`.")


def check_integers(lowest: int = 1, optional: bool = False, **numbers: Any) -> None:
    """Raises a `ValueError` that names the first argument that is no int >= `lowest`, nor None where `optional`."""
    for name, number in numbers.items():
        as_count(name, number, lowest, optional)


def epoch_callbacks(callbacks: Any, model: Model) -> Sequence:
    """The callbacks as a list, if they are of the model's Keras and none of them needs batches."""
    keras = keras_of(model)
    callbacks = tf.nest.flatten(callbacks) if callbacks is not None else []
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(
                f"`callbacks` holds a {type(callback).__module__}.{type(callback).__name__}, and the model is of "
                f"`{keras.__name__}`: give callbacks of `{keras.__name__}.callbacks`."
            )
        frequency = getattr(callback, "save_freq", getattr(callback, "update_freq", None))
        for hook in _BATCH_HOOKS:
            owner = next(c for c in type(callback).__mro__ if hook in vars(c))
            own = hook in vars(callback) or not is_kerases_own(owner)
            idle = owner is keras.callbacks.Callback or issubclass(owner, keras.callbacks.ProgbarLogger)
            if own or not (idle or frequency == "epoch"):
                raise ValueError(
                    f"{type(callback).__name__} acts on every batch (`{hook}`), and in `nllfit.fit` an epoch is one "
                    f"program: give a callback that acts once an epoch, or train with `model.fit`. (A loss that is not "
                    f"finite stops `nllfit.fit` without a callback.)"
                )
    return callbacks
