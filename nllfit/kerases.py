"""The two Kerases: which of them something belongs to, and how each keeps what training needs to know of it.

tf_keras is Keras 2; `keras`, on its TensorFlow backend, Keras 3. What differs is private in both, and named only here.
"""

import copy
import itertools
import re
import sys
import types
from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from nllfit.families.refusal import untouched

__all__ = [
    "Model",
    "as_distribution",
    "build_replicas",
    "build_training",
    "compile_in_float64",
    "compiled_with",
    "distribution_of",
    "float_dtype",
    "is_kerases_own",
    "is_plain",
    "keras_of",
    "kind_of",
    "made_by_compile",
    "mask_of",
    "no_distribution",
    "output_like",
    "parts_of",
    "training_variables",
    "variable_of",
    "with_mask",
]

Model: TypeAlias = Any  # of tf_keras or of Keras 3, which share no class


def keras_of(model: Model) -> types.ModuleType:
    """The Keras, as a module, that a model belongs to; a `TypeError` if it is no model."""
    keras = tf_keras if isinstance(model, tf_keras.Model) else sys.modules.get("keras")
    if keras is None or not isinstance(model, keras.Model):
        raise TypeError(f"`model` is a {type(model).__name__}, not a Keras model.")
    return keras


def float_dtype(model: Model) -> str:
    """The dtype for NumPy's floats: Keras's default, or float64 where the model computes in it."""
    parts = model.variables if model.built else model.layers
    is_float64 = any(getattr(part, "dtype", None) == "float64" for part in parts)
    return "float64" if is_float64 else keras_of(model).backend.floatx()


def variable_of(weight: Any) -> tf.Variable:
    """The `tf.Variable` behind a weight."""
    return weight if isinstance(weight, tf.Variable) else weight.value


def parts_of(model: Model, weight: Any) -> tuple[tf.Variable, ...]:
    """The variables behind a weight, one for each of this process's replicas of the model."""
    return model.distribute_strategy.experimental_local_results(variable_of(weight))


def distribution_of(output: Any) -> tfp.distributions.Distribution | None:
    """The distribution behind a head's output, or that is one itself; None for any other tensor."""
    if hasattr(output, "log_prob"):  # of tf_keras, a coercible one around the one that the head made
        return getattr(output, "tensor_distribution", output)
    return getattr(output, "distribution", None)


def as_distribution(output: Any, name: str = "`y_pred`") -> tfp.distributions.Distribution:
    """The distribution that the output of a head of either Keras stands for or is; else a `TypeError` names it."""
    distribution = distribution_of(output)
    if distribution is None:
        raise no_distribution(output, name)
    return distribution


def no_distribution(output: Any, name: str = "`y_pred`") -> Exception:
    """The error that a prediction is mere numbers, of `model.predict` or of a model that does not end in its head."""
    if tf.is_tensor(output):
        advice = (
            "end the model in a head, such as `nllfit.heads.Normal(1)`, and give what it returns. In a Keras 3 model, "
            "`from nllfit import keras3` and use `keras3.heads.Normal(1)` and the loss `keras3.NegativeLogLikelihood()`"
        )
    else:
        advice = (
            "give what `nllfit.predict_distribution(model, x)` returns, or the model called, for Keras's "
            "`model.predict(x)` keeps a mean alone"
        )
    return untouched(TypeError(f"{name} is {kind_of(output)}, but a distribution is needed: {advice}."))


def kind_of(output: Any) -> str:
    """What to call the output of a layer in a message: the classes of TensorFlow's tensors mean nothing to a user."""
    return f"a tensor of shape {tuple(output.shape)}" if tf.is_tensor(output) else f"a {type(output).__name__}"


def mask_of(output: Any) -> tf.Tensor | None:
    """Keras's mask of an output, True where it counts; None where all of it does."""
    return getattr(output, "_keras_mask", None)


def with_mask(output: Any, mask: tf.Tensor | None) -> Any:
    """The output or distribution itself, with Keras's mask of it where there is one."""
    if mask is not None:
        output._keras_mask = mask
    return output


def output_like(output: Any, distribution: tfp.distributions.Distribution, prediction: tf.Tensor) -> Any:
    """What a head whose output is `output` would return had it made `distribution`, of which this is the prediction."""
    if hasattr(output, "log_prob"):
        return with_mask(distribution, mask_of(output))
    prediction = tf.identity(tf.cast(prediction, output.dtype))  # its own: it may be the distribution's parameter
    prediction.distribution = distribution
    return with_mask(prediction, mask_of(output))


def made_by_compile(model: Model) -> list:
    """What `model.compile` makes anew: the optimizer and, in tf_keras, the loss, in Keras 3 its tracker."""
    return [getattr(model, "optimizer", None), vars(model).get("compiled_loss") or vars(model).get("_loss_tracker")]


def compile_in_float64(twin: Model, model: Model) -> None:
    """Compiles a copy of a model with the model's losses, in float64 but for functions and names in Keras 3."""
    losses = tf.nest.map_structure(copy.copy, model.loss)
    twin.compile(loss=losses, loss_weights=model._compile_config.config["loss_weights"])
    tracker = vars(twin).get("_compile_loss")
    if tracker is not None and all(hasattr(loss, "_dtype") for loss in tf.nest.flatten(losses)):
        for loss in [tracker, *tf.nest.flatten(losses)]:
            loss._dtype = "float64"


def compiled_with(model: Model) -> dict:
    """The arguments of `model.compile`, as they were given."""
    return dict(model._compile_config.config)


def is_plain(model: Model) -> bool:
    """Whether a model is a mere sequence or graph of layers, with one output."""
    functional = type(model).__name__ == "Functional" and is_kerases_own(type(model))
    outputs = getattr(model, "outputs", None) or []
    return (functional or type(model) is keras_of(model).Sequential) and len(outputs) == 1


def build_training(model: Model, y: Any) -> None:
    """Makes what the first training step of a plain model on outcomes `y` makes: slots of the optimizer, metrics."""
    if not getattr(model.optimizer, "built", hasattr(model.optimizer, "_built")):
        with model.distribute_strategy.scope(), tf.variable_creator_scope(_named_alike()):
            model.optimizer.build(model.trainable_variables)
    (y_pred,) = model.outputs
    if isinstance(model, tf_keras.Model):
        if not model.compiled_loss.built:
            model.compiled_loss.build(y_pred)
        if not model.compiled_metrics.built:
            model.compiled_metrics.build(y_pred, y)
    else:
        for container in (model._compile_loss, model._compile_metrics):
            if container is not None and not container.built:
                container.build(y, y_pred)


def _named_alike():
    """A creator of variables that names them alike for each model of an architecture, as `optimizer/m/dense/kernel_2`.

    The names of Keras's layers and optimizers count all that were ever made, and for each new name TensorFlow makes an
    operation, which takes five times as long as the variable, and keeps it.
    """
    numbers = itertools.count()

    def create(next_creator, **kwargs):
        name = re.sub(r"_\d+(?=[/_])", "", kwargs.get("name") or "")
        with tf.name_scope("optimizer/"):  # in place of the scope that it is made in
            return next_creator(**kwargs | {"name": f"{name}_{next(numbers)}"})

    return create


def build_replicas(model: Model, batch: tuple) -> None:
    """Makes what the first step on a batch would make, where Keras 3 cannot in a program of several replicas."""
    if model.distribute_strategy.num_replicas_in_sync > 1 and not isinstance(model, tf_keras.Model):
        model._maybe_symbolic_build(data_batch=batch)


def training_variables(model: Model) -> list[tf.Variable]:
    """Every variable that a training step may use: the model's, its optimizer's and its metrics', each once."""
    optimizer = model.optimizer
    slots = optimizer.variables() if callable(optimizer.variables) else optimizer.variables
    rates = [value for value in vars(optimizer).values() if isinstance(value, tf.Variable)]
    metrics = [v for metric in model.metrics for v in metric.variables]
    random = [getattr(layer, "_random_generator", None) for layer in model._flatten_layers()]  # of tf_keras
    generators = [getattr(one, "_generator", None) for one in random]
    states = [generator.state for generator in generators if generator is not None]
    found = [*model.variables, *slots, *rates, *metrics, *states]
    found = [part for v in found if hasattr(v, "dtype") for part in parts_of(model, v)]  # tf_keras counts tables, too
    return list({id(variable): variable for variable in found}.values())


def is_kerases_own(function: Callable) -> bool:
    """Whether a function is either Keras's and not a user's."""
    return function.__module__.startswith(("keras.", "tf_keras."))
