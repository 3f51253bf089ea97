"""Compiled programs: which models share a trace, what a trace contains, and when it is freed."""

import collections
import functools
import gc
import threading
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import nllfit
from nllfit import model_caches
from nllfit.adapters import adapter_of
from nllfit.adapters.keras_models import training_variables, variable_of
from nllfit.training import run_state, traced_steps
from nllfit.training.architecture import architecture_of
from nllfit.training.epoch_programs import Program
from tests.keras_versions import KERAS_VERSIONS, by_keras, mainly
from tests.training.networks import X, Y, assert_same_run, crossentropy, dense, rows_of, sequential

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # raised by Keras 3's variables
    pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning"),  # Keras 3 warns about its own default
]


@pytest.mark.thorough  # covered by a test below, which counts the traces of two models
@mainly(tf_keras, "k")
def test_fitting_again_traces_nothing(k, traced):
    model = dense(k)
    x, y, w = rows_of(model)
    arguments = {"epochs": 2, "verbose": 0, "validation_split": 0.25, "sample_weight": w}
    nllfit.fit(model, x, y, **arguments)
    count = len(traced)
    nllfit.fit(model, x, y, **arguments)
    nllfit.fit(model, x, y, callbacks=[k.callbacks.LearningRateScheduler(lambda epoch: 0.1)], **arguments)
    assert len(traced) == count == 1


@pytest.mark.thorough
def test_no_range_depends_on_the_number_of_steps_so_xla_compiles_once(traced):
    """XLA compiles a `Range` again for each value of its limit, so the limit must not be the number of steps."""
    model = dense(tf_keras, metrics=["mae"])
    x, y, _ = rows_of(model)
    nllfit.fit(model, x, y, validation_data=(x, y), verbose=0, compile="graph")
    (program,) = traced
    graph = program._graph.graph.as_graph_def()
    functions = [graph.node, *(function.node_def for function in graph.library.function)]
    assert sum(node.op in ("While", "StatelessWhile") for nodes in functions for node in nodes) >= 3
    for nodes in functions:
        constants = {node.name for node in nodes if node.op == "Const"}
        limits = [node.input[1].partition(":")[0] for node in nodes if node.op == "Range"]
        assert constants.issuperset(limits)


@mainly(tf_keras, "k")
def test_another_model_of_an_architecture_reuses_the_trace_and_matches_keras(k, traced):
    x, y, _ = rows_of(dense(k))
    arguments = {"epochs": 1, "shuffle": False, "verbose": 0}
    names = []
    for seed in range(2):
        model, reference = (dense(k, optimizer=k.optimizers.Adam(0.01)) for _ in range(2))
        weights = [w + 0.01 * seed for w in model.get_weights()]
        model.set_weights(weights)
        reference.set_weights(weights)
        expected = by_keras(reference, x, y, **arguments)
        assert_same_run(nllfit.fit(model, x, y, compile="graph", **arguments).history, expected, model, reference)
        # The optimizer's variables must have the same names in each model: TensorFlow keeps an operation for each name,
        # so new names would use more and more memory.
        weights = {id(variable_of(w)) for w in model.variables}
        slots = [v for v in training_variables(model) if v.shape.rank and id(v) not in weights]
        names.append([v.name for v in slots])
    assert len(traced) == 1
    assert names[0] == names[1]
    assert len(set(names[0])) == len(names[0]) == 8  # two of the optimizer's variables for each weight


@pytest.mark.thorough
@mainly(tf_keras, "k")
def test_different_architectures_never_share_a_trace(k, monkeypatch):
    class Dense(k.layers.Dense):
        pass

    def frozen(model):
        model.layers[0].trainable = False
        return model

    def models():
        yield dense(k)
        yield dense(k, optimizer=k.optimizers.Adam(0.01, beta_1=0.8))
        yield dense(k, metrics=[])
        yield dense(k, loss="mse")
        yield frozen(dense(k))
        yield sequential(k, (8,), lambda: [k.layers.Dense(16, activation="tanh")])
        for _ in range(2):  # models that contain a user's code never share a program
            yield sequential(k, (8,), lambda: [Dense(16, activation="relu")])
            yield sequential(k, (8,), lambda: [k.layers.Dense(16, activation=lambda u: u)])
            yield dense(k, loss=lambda y_true, y_pred: tf.reduce_mean(y_pred**2, -1))

    made = []

    class Untraced:
        """A stand-in for a program that is neither traced nor run."""

        def __init__(self, model, mode, layout, is_known):
            self.is_shared = is_known
            made.append(self)

        def changed(self, variables):
            raise InterruptedError

    monkeypatch.setattr(model_caches, "_SHARED", model_caches.LeastRecentlyUsed(32))
    monkeypatch.setattr(run_state, "Program", Untraced)
    count = 0
    for count, model in enumerate(models(), 1):
        with pytest.raises(InterruptedError):
            nllfit.fit(model, X, Y, verbose=0, compile="graph")
        assert len(made) == count
    with pytest.raises(InterruptedError):
        nllfit.fit(dense(k), X, Y, verbose=0, compile="graph")
    assert len(made) == count  # the program of the first model is reused


@KERAS_VERSIONS
def test_a_model_whose_config_is_incomplete_shares_no_program(k):
    def key(*layers):
        return architecture_of(sequential(k, (8,), lambda: layers, metrics=[]), Y)

    assert key(k.layers.Activation("relu")) is not None
    doubled, leaky = functools.partial(tf.multiply, 2.0), functools.partial(tf.nn.leaky_relu, alpha=0.3)
    assert key(k.layers.Lambda(doubled)) is key(k.layers.Activation(leaky)) is None  # Keras cannot save a `partial`
    plain, penalised = (k.layers.Activation("relu", activity_regularizer=r) for r in (None, k.regularizers.L2(9.0)))
    assert key(plain) != key(penalised)
    for name, value in (("kernel_regularizer", k.regularizers.L2(9.0)), ("kernel_constraint", k.constraints.NonNeg())):
        late = k.layers.Dense(2)
        model = sequential(k, (8,), lambda layer=late: [layer], metrics=[])
        setattr(late, name, value)  # has no effect on the layer, which is already built
        assert architecture_of(model, Y) != key(k.layers.Dense(2, **{name: value}))


def test_models_share_no_program_if_an_attribute_differs_that_keras_3_does_not_save():
    def key(autocast=True, dtype="float32"):
        layer, loss = keras.layers.Dense(2, autocast=autocast), keras.losses.MeanSquaredError(dtype=dtype)
        return architecture_of(sequential(keras, (8,), lambda: [layer], loss=loss), Y)

    assert key() == key() != key(autocast=False)
    assert key() != key(dtype="bfloat16")


def test_models_share_no_program_if_an_argument_differs_that_a_config_lacks():
    def key(penalty=0.1, **compiled):
        layer = keras.layers.Dense(2)
        model = sequential(keras, (8,), lambda: [layer], **compiled)
        layer.kernel.regularizer = keras.regularizers.L2(penalty)
        return architecture_of(model, Y)

    def key_of_layer(size):
        layer = tf_keras.layers.AlphaDropout(0.5, noise_shape=(None, size))
        return architecture_of(sequential(tf_keras, (8,), lambda: [layer], metrics=[]), Y)

    for of, first, second in (
        (lambda delta: key(loss=keras.losses.Huber(delta)), 1.0, 9.0),
        (lambda axis: key(metrics=[keras.metrics.CosineSimilarity(axis=axis)]), 0, 1),
        (lambda penalty: key(penalty), 0.1, 9.0),
        (key_of_layer, 1, 8),
    ):
        assert of(first) == of(first) != of(second)


@KERAS_VERSIONS
def test_a_sequential_that_repeats_a_layer_shares_no_program(k):
    def key(order):
        layers = [k.layers.Dense(8), k.layers.Dense(8)]
        return architecture_of(sequential(k, (8,), lambda: [layers[i] for i in order], metrics=[]), Y)

    assert key([0, 1]) == key([0, 1]) is not None
    assert key([0, 1, 0]) is None  # its config equals that of `[0, 1, 1]`


@mainly(tf_keras, "k")  # `test_a_model_with_its_own_metrics_can_be_compiled_again` covers Keras 3
def test_a_model_that_is_compiled_again_gets_new_traces(k):
    model = dense(k)
    x, y, _ = rows_of(model)
    nllfit.fit(model, x, y, verbose=0, compile="graph")
    before = model.get_weights()
    model.compile(k.optimizers.SGD(0.0), crossentropy(k), metrics=[k.metrics.SparseTopKCategoricalAccuracy(2, "top2")])
    assert set(nllfit.fit(model, x, y, verbose=0, compile="graph").history) == {"loss", "top2"}
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_small_variables_are_packed_and_unpacked_without_changes():
    shapes = [2, 3], [4], [300, 300], [0, 5], []
    variables = [tf.Variable(tf.fill(shape, float(i))) for i, shape in enumerate(shapes)]
    variables += [tf.Variable(7, dtype=tf.int64), tf.Variable([[8.0, 9.0]], shape=tf.TensorShape([1, None]))]
    joined = traced_steps._joined(variables)
    assert [t.shape.num_elements() for t in joined[:2]] == [2 * 3 + 4 + 0 + 1, 300 * 300]
    after = traced_steps.split([np.stack([t.numpy(), t.numpy() + 1]) for t in joined], variables)
    for state, variable in zip(after, variables, strict=True):
        np.testing.assert_array_equal(state, [variable.numpy(), variable.numpy() + 1], strict=True)


@pytest.mark.thorough
@mainly(tf_keras, "k")  # the next test covers Keras 3
def test_traces_are_freed_with_their_model(k):
    model = dense(k)
    x, y, _ = rows_of(model)
    nllfit.fit(model, x, y, verbose=0, compile="graph")
    alive = weakref.ref(model)
    del model
    k.backend.clear_session()
    gc.collect()
    assert alive() is None


@pytest.mark.thorough
@mainly(keras, "k")  # the test above covers tf_keras, and `test_memory.py` fits 50 models in each version
def test_four_models_in_turn_leave_no_more_objects_than_two(k, traced):
    def alive():
        for thread in threading.enumerate():
            if thread.name == "nllfit-xla":  # started by another test; it holds variables while it compiles
                thread.join()
        gc.collect()
        kinds = tf.Variable, tf.Graph, k.Model, k.optimizers.Optimizer, k.callbacks.Callback, Program
        types = collections.Counter(map(type, gc.get_objects()))
        return collections.Counter({t: number for t, number in types.items() if issubclass(t, kinds)})

    x, y, _ = rows_of(dense(k))
    counts = []
    for _ in range(2):
        for _ in range(2):
            nllfit.fit(dense(k), x, y, verbose=0, validation_data=(x[:32], y[:32]))
        counts.append(alive())
    assert not counts[1] - counts[0]
    assert len(traced) == 1


@KERAS_VERSIONS
@pytest.mark.parametrize("by", ["var_list", "var_names"])
def test_a_model_with_undecayed_weights_shares_no_trace(k, by):
    """The config of an optimizer does not say which weights are excluded from the decay.

    So a model with excluded weights must not share the trace of another model: in that trace these weights would decay.
    """
    model, other = (k.Sequential([k.layers.Input([2]), k.layers.Dense(1)]) for _ in range(2))
    for each in (model, other):
        each.compile(k.optimizers.AdamW(0.1, weight_decay=0.5), k.losses.MeanSquaredError())
    model.optimizer.exclude_from_weight_decay(
        **{by: {"var_list": model.trainable_variables, "var_names": ["bias"]}[by]}
    )
    assert adapter_of(model).excludes_from_weight_decay
    assert architecture_of(model, [[1.0]]) is None
    assert not adapter_of(other).excludes_from_weight_decay
    assert architecture_of(other, [[1.0]]) is not None
