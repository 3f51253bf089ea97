"""Canaries: the private names of TensorFlow, TFP and Keras that the adapters use still have the same meaning.

`CANARIES` has a check for each name. If a new version removes the name or changes its meaning, the check fails, and the
message contains the name. This module does not import `nllfit`, because that import fails without some of the names.
"""

import ast
import importlib
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

tfd = tfp.distributions
ADAPTERS = pathlib.Path(__file__).parents[2] / "nllfit" / "adapters"
X, Y = np.ones([4, 3], "float32"), np.ones([4, 1], "float32")


def trained(k, **arguments):
    model = k.Sequential([k.layers.Input([3]), k.layers.Dense(1)])
    model.compile(k.optimizers.Adam(), **{"loss": k.losses.MeanSquaredError(), "metrics": ["mae"]} | arguments)
    return model


def calls_on_other_variables():
    one, other = tf.Variable(1.0), tf.Variable(2.0)
    traced = tf.function(lambda x: x + one).get_concrete_function(tf.TensorSpec([]))
    return float(traced._call_flat([tf.constant(1.0)], [other.handle])) == 3


def clears_kernels():
    module = importlib.import_module("tensorflow.python.eager.context")
    return callable(module.context().clear_kernel_cache)


def tells_direction():
    falls = tfp.bijectors.Chain([tfp.bijectors.Scale(-1.0), tfp.bijectors.Exp()])
    return not falls._internal_is_increasing() and tfp.bijectors.Exp()._internal_is_increasing()


def knows_determinism():
    module = importlib.import_module("tensorflow.python.framework.config")
    return module.is_op_determinism_enabled() is False


def marks_as_converted():
    """AutoGraph skips a function that has the attribute `autograph_info__`, so an `if` on a tensor in its body fails.

    If such a function gives another function to `strategy.run`, AutoGraph still converts the other function.
    """

    def branches(x):
        if x > 0:
            x = x + 1
        return x

    def runs(x):
        return tf.distribute.get_strategy().run(branches, (x,))

    def marked(x):
        if x > 0:
            x = x + 1
        return x

    runs.autograph_info__ = marked.autograph_info__ = {}
    with pytest.raises(tf.errors.OperatorNotAllowedInGraphError):
        tf.function(marked)(tf.constant(1.0))
    return float(tf.function(runs)(tf.constant(1.0))) == 2


def passes_errors_through():
    error = TypeError("as it is")
    error.ag_pass_through = True

    def fails(x):
        raise error

    with pytest.raises(TypeError) as caught:
        tf.function(fails)(tf.constant(1.0))
    return str(caught.value) == "as it is"


def carries_masks(k):
    masked = k.layers.Masking()(tf.constant([[[0.0], [1.0]]]))
    return masked._keras_mask.numpy().tolist() == [[False, True]]


def wraps_distributions():
    made = tfp.layers.DistributionLambda(lambda t: tfd.Normal(t, 1.0))(tf.zeros([2, 1]))
    return type(made.tensor_distribution).__name__ == "Normal" and type(made) is not type(made.tensor_distribution)


def names_dtype():
    distribution = tfd.Categorical(logits=tf.zeros([2]))
    distribution._dtype = tf.float32
    return distribution.dtype == tf.float32


def remembers_results():
    bijector, x = tfp.bijectors.Exp(), tf.constant([1.0])
    y = bijector.forward(x)
    inputs = [part for key in list(tfp.bijectors.Bijector._cache.storage) for part in tf.nest.flatten(key())]
    return any(part is x or part is y for part in inputs)


def marks_discrete():
    module = importlib.import_module("tensorflow_probability.python.distributions.distribution")
    mixin = module.DiscreteDistributionMixin
    return issubclass(tfd.Poisson, mixin) and not issubclass(tfd.Normal, mixin)


def loads_code():
    layer, util = (
        importlib.import_module(f"tensorflow_probability.python.layers.{name}")
        for name in ("distribution_layer", "util")
    )
    return callable(layer._deserialize_function) and callable(util._func_load)


def knows_safe_mode():
    lib = importlib.import_module("tf_keras.src.saving.serialization_lib")
    with lib.SafeModeScope(True):
        return lib.in_safe_mode() is True


def flattens(k):
    inner = k.layers.Dense(1)
    model = k.Sequential([k.layers.Input([2, 3]), k.layers.TimeDistributed(inner)])
    return any(layer is inner for layer in model._flatten_layers()) and any(p is model for p in model._flatten_layers())


def keeps_arguments(k):
    loss = k.losses.MeanSquaredError()
    return trained(k, loss=loss)._compile_config.config["loss"] is loss


def makes_by_compile(k, name):
    model = trained(k)
    first = vars(model)[name]
    model.compile(model.optimizer, loss="mse")
    return vars(model)[name] is not first


def has_generators():
    tf_keras.backend.experimental.enable_tf_random_generator()
    try:
        model = tf_keras.Sequential([tf_keras.layers.Dropout(0.5)])
        model(tf.ones([1, 8]), training=True)
        return isinstance(model.layers[0]._random_generator._generator.state, tf.Variable)
    finally:
        tf_keras.backend.experimental.disable_tf_random_generator()


def excludes(k, name, **arguments):
    optimizer, other = k.optimizers.AdamW(), k.optimizers.AdamW()
    kernel = k.Sequential([k.layers.Input([1]), k.layers.Dense(1)]).trainable_variables[0]
    optimizer.exclude_from_weight_decay(**arguments or {"var_list": [kernel]})
    return bool(getattr(optimizer, name)) and not getattr(other, name, None)


def starts_bar(k):
    bar = k.callbacks.ProgbarLogger()
    bar.set_params({"steps": 1, "epochs": 1, "verbose": 0})
    bar.set_model(trained(k))
    bar.on_train_begin()
    bar.on_epoch_begin(0)
    bar.on_train_batch_end(0, {})
    return bar.progbar._start <= bar.progbar._time_at_epoch_start


def builds_loss_and_metrics():
    model = trained(tf_keras)
    model.compiled_loss.build(model.outputs[0])
    model.compiled_metrics.build(model.outputs[0], Y)
    return model.compiled_loss.built and model.compiled_metrics.built and len(model.metrics) == 2


def builds(name):
    model = trained(keras)
    container = getattr(model, name)
    container.build(Y, model.outputs[0])
    return container.built


def builds_symbolically(**arguments):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = trained(keras, **arguments)
    model._maybe_symbolic_build(data_batch=(X, Y))
    return model.optimizer.built


def checks_variables():
    optimizer = keras.optimizers.SGD()
    optimizer.build([keras.Variable(1.0)])
    with pytest.raises(ValueError, match="Unknown variable") as caught:
        optimizer.apply([tf.constant(1.0)], [keras.Variable(2.0)])
    return "_check_variables_are_known" in [entry.name for entry in caught.traceback]


def computes_loss_in_its_dtype():
    loss = keras.losses.MeanSquaredError()
    loss._dtype = "float64"
    return loss(np.zeros([2, 1]), np.zeros([2, 1])).dtype == tf.float64


def wraps_a_function():
    wrapper = importlib.import_module("keras.src.losses.losses").LossFunctionWrapper
    loss = wrapper(keras.losses.mean_squared_error)
    return isinstance(loss, keras.losses.Loss) and float(loss(np.zeros(2), np.full([2, 1], 3.0))) == 9.0


def infers_in_a_scope():
    seen = []

    class Loss(keras.losses.Loss):
        def call(self, y_true, y_pred):
            with keras.SymbolicScope() as scope:
                seen.append(scope.original_scope is not None)
            return keras.ops.mean(y_pred - y_true, -1)

    builds_symbolically(loss=Loss())
    Loss()(Y, Y)
    return seen[0] is True and seen[-1] is False


def stops_by_direction():
    """`EarlyStopping` refuses a metric if it cannot tell whether a higher value is better."""
    metrics = [keras.metrics.MeanMetricWrapper(lambda y, p: p[:, 0], name=name) for name in ("known", "unknown")]
    metrics[0]._direction = "down"
    model = trained(keras, metrics=metrics, run_eagerly=True)
    model.fit(X, Y, verbose=0, callbacks=[keras.callbacks.EarlyStopping("known")])
    with pytest.raises(ValueError, match="automatically determine"):
        model.fit(X, Y, verbose=0, callbacks=[keras.callbacks.EarlyStopping("unknown")])
    return True


def asks_subclasses():
    class Own(tfd.Normal):
        def _log_prob(self, value):
            return super()._log_prob(value) + 1

        def _sample_control_dependencies(self, value):
            return [tf.debugging.assert_positive(value)]

    own = Own(0.0, 1.0, validate_args=True)
    with pytest.raises(tf.errors.InvalidArgumentError):
        own.log_prob(-1.0)
    properties = Own._parameter_properties(tf.float32)
    return np.isclose(own.log_prob(1.0), tfd.Normal(0.0, 1.0).log_prob(1.0) + 1) and {"loc", "scale"} == {*properties}


def has_attributes(k, callback, *names):
    """Whether a callback has the attributes that a backup stores. They are public, but Keras does not document them."""
    found = getattr(k.callbacks, callback)(**({"filepath": "m.keras"} if callback == "ModelCheckpoint" else {}))
    if hasattr(found, "on_train_begin"):
        found.set_model(trained(k))
        found.on_train_begin()
    return all(hasattr(found, name) for name in names)


def lists_penalties():
    layer = tf_keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", kernel_regularizer="l2")
    layer(X)
    layer.kernel_regularizer = None
    (penalty,) = layer._callable_losses
    return np.isclose(penalty(), 3 * 0.01)


def keeps_function_arguments(k):
    return (
        k.losses.Huber(2.0)._fn_kwargs == {"delta": 2.0} and k.metrics.CosineSimilarity(axis=0)._fn_kwargs["axis"] == 0
    )


CANARIES = {
    ("adapter", "_fn_kwargs"): lambda: keeps_function_arguments(tf_keras) and keeps_function_arguments(keras),
    ("tensorflow", "_call_flat"): calls_on_other_variables,
    ("tensorflow", "tensorflow.python.eager.context"): clears_kernels,
    ("tensorflow", "tensorflow.python.framework.config.is_op_determinism_enabled"): knows_determinism,
    ("tensorflow", "autograph_info__"): marks_as_converted,
    ("tensorflow", "ag_pass_through"): passes_errors_through,
    ("tensorflow", "_keras_mask"): lambda: carries_masks(tf_keras) and carries_masks(keras),
    ("tensorflow", "tensor_distribution"): wraps_distributions,
    ("tensorflow", "_dtype"): names_dtype,
    ("tensorflow", "_cache"): remembers_results,
    ("tensorflow", "_internal_is_increasing"): tells_direction,
    (
        "tensorflow",
        "tensorflow_probability.python.distributions.distribution.DiscreteDistributionMixin",
    ): marks_discrete,
    ("tensorflow", "tensorflow_probability.python.layers.distribution_layer"): loads_code,
    ("tensorflow", "tensorflow_probability.python.layers.util"): loads_code,
    ("tensorflow", "_deserialize_function"): loads_code,
    ("tensorflow", "_func_load"): loads_code,
    ("keras2", "tf_keras.src.saving.serialization_lib.in_safe_mode"): knows_safe_mode,
    ("keras2", "_flatten_layers"): lambda: flattens(tf_keras),
    ("keras2", "_compile_config"): lambda: keeps_arguments(tf_keras),
    ("keras2", "compiled_loss"): lambda: makes_by_compile(tf_keras, "compiled_loss") and builds_loss_and_metrics(),
    ("keras2", "_callable_losses"): lists_penalties,
    ("keras2", "_random_generator"): has_generators,
    ("keras2", "_generator"): has_generators,
    ("keras2", "_exclude_from_weight_decay"): lambda: excludes(tf_keras, "_exclude_from_weight_decay"),
    ("keras2", "_exclude_from_weight_decay_names"): lambda: excludes(
        tf_keras, "_exclude_from_weight_decay_names", var_names=["bias"]
    ),
    ("keras2", "_start"): lambda: starts_bar(tf_keras),
    ("keras2", "_time_at_epoch_start"): lambda: starts_bar(tf_keras),
    ("keras3", "_flatten_layers"): lambda: flattens(keras),
    ("keras3", "_check_variables_are_known"): checks_variables,
    ("keras3", "_compile_config"): lambda: keeps_arguments(keras),
    ("keras3", "_loss_tracker"): lambda: makes_by_compile(keras, "_loss_tracker"),
    ("keras3", "_exclude_from_weight_decay"): lambda: excludes(keras, "_exclude_from_weight_decay"),
    ("keras3", "_exclude_from_weight_decay_pattern"): lambda: excludes(
        keras, "_exclude_from_weight_decay_pattern", var_names=["bias"]
    ),
    ("keras3", "_dtype"): computes_loss_in_its_dtype,
    ("keras3", "keras.src.losses.losses.LossFunctionWrapper"): wraps_a_function,
    ("keras3", "_compile_loss"): lambda: builds("_compile_loss"),
    ("keras3", "_compile_metrics"): lambda: builds("_compile_metrics"),
    ("keras3", "_maybe_symbolic_build"): builds_symbolically,
    ("keras3", "_start"): lambda: starts_bar(keras),
    ("keras3", "_time_at_epoch_start"): lambda: starts_bar(keras),
    ("keras3", "original_scope"): infers_in_a_scope,
    ("keras3", "_direction"): stops_by_direction,
}
"""For each adapter and private name: a check that the name still has the meaning that the adapter relies on."""

HOOKS = {  # checks of public names that nllfit uses, although TFP and Keras do not document all of them
    "subclasses of tfd.Distribution": asks_subclasses,
    "callbacks of tf_keras": lambda: (
        has_attributes(tf_keras, "EarlyStopping", "best", "best_epoch", "best_weights", "stopped_epoch", "wait")
        and has_attributes(tf_keras, "ModelCheckpoint", "best")
        and has_attributes(tf_keras, "ReduceLROnPlateau", "best", "cooldown_counter", "wait")
    ),
    "callbacks of Keras 3": lambda: (
        has_attributes(keras, "EarlyStopping", "best", "best_epoch", "best_weights", "stopped_epoch", "wait")
        and has_attributes(keras, "ModelCheckpoint", "best")
        and has_attributes(keras, "ReduceLROnPlateau", "best", "cooldown_counter", "wait")
    ),
}


@pytest.mark.parametrize(("adapter", "name"), CANARIES, ids=lambda part: part)
def test_a_private_name_keeps_its_meaning(adapter, name):
    assert means(CANARIES[adapter, name]), f"{name} of nllfit/adapters/{adapter}.py has changed: see what needs it"


@pytest.mark.parametrize("name", HOOKS)
def test_an_undocumented_attribute_keeps_its_meaning(name):
    assert means(HOOKS[name]), f"{name} have changed"


def means(check):
    """Returns the result of a check. Fails the test if the check raises an error because a name is missing."""
    try:
        return check()
    except (AttributeError, ImportError, KeyError, TypeError) as error:
        pytest.fail(f"{type(error).__name__}: {error}", pytrace=False)


def private_names(source):
    """The private names of other packages that a source uses as attributes, in strings or in imports."""
    found, own = set(), {"_model"}  # `_model` is an attribute of our own class `Adapter`
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and re.search(r"\.(python|src)\b", node.module or ""):
            found |= {node.module + f".{alias.name}" if node.module.count(".") else alias.name for alias in node.names}
        if isinstance(node, ast.FunctionDef):
            own.add(node.name)
        if isinstance(node, ast.Attribute):
            is_own = isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
            (own if is_own else found).add(node.attr)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            found.add(node.value)
    return {name for name in found - own if re.fullmatch(r"_[a-z]\w*", name) or "." in name}


@pytest.mark.parametrize("adapter", ["adapter", "keras2", "keras3", "tensorflow"])
def test_each_private_name_has_a_canary(adapter):
    found = private_names((ADAPTERS / f"{adapter}.py").read_text())
    assert found <= {name for known, name in CANARIES if known == adapter}
