"""Forms of arguments that `fit` accepts: shapes of outcomes, batch sizes, integers, callbacks, losses."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tf_keras

import nllfit
from nllfit.training.failures import failed
from nllfit.training.outcome_support import outcome_check
from tests.keras_versions import KITS, by_keras, each_keras, mainly

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3's variables

X = np.random.default_rng(0).normal(size=[20, 2]).astype("float32")
Y = X[:, :1] + 1


def normal(kit):
    kit.keras.utils.set_random_seed(0)
    layers = kit.keras.layers
    model = kit.keras.Sequential([layers.Input((2,)), layers.Dense(2), kit.heads.Normal()])
    model.compile("sgd", kit.loss, metrics=[kit.metrics.NegativeLogLikelihood(), "mae"], jit_compile=False)
    return model


def assert_same(history, expected):
    assert history.keys() == expected.keys()
    for name, numbers in expected.items():
        np.testing.assert_allclose(history[name], numbers, rtol=1e-6)  # rounding of float32


@pytest.mark.thorough
@mainly(tf_keras)
def test_outcomes_may_have_no_last_axis(kit):
    arguments = {"seed": 0, "verbose": 0, "compile": "graph", "batch_size": 10}
    model = normal(kit)
    start = model.get_weights()
    expected = nllfit.fit(model, X, Y, validation_data=(X, Y), **arguments).history
    y = Y[:, 0]
    for flat, other in ((y, pd.Series(y)), (y.tolist(), tf.constant(y))):
        model.set_weights(start)
        assert_same(nllfit.fit(model, X, flat, validation_data=(X, other), **arguments).history, expected)


@pytest.mark.thorough
@mainly(keras)
def test_inputs_may_be_a_frame_of_numbers_and_booleans(kit):
    x = np.stack([X[:, 0], X[:, 1] > 0], 1).astype("float32")
    frame = pd.DataFrame({"size": x[:, 0], "old": x[:, 1] > 0})
    model = normal(kit)
    nllfit.initialize(model, frame, Y)
    start = model.get_weights()
    arguments = {"seed": 0, "verbose": 0, "compile": "graph", "batch_size": 10}
    expected = nllfit.fit(model, x, Y, validation_data=(x, Y), **arguments).history
    model.set_weights(start)
    assert_same(nllfit.fit(model, frame, Y, validation_data=(frame, Y), **arguments).history, expected)
    assert nllfit.evaluate(model, frame, Y).nll == nllfit.evaluate(model, x, Y).nll
    with pytest.raises(ValueError, match="`x` holds 'u', which is not a number"):
        nllfit.fit(model, frame.assign(town="u"), Y, verbose=0)


@pytest.mark.thorough
@mainly(keras)
def test_batches_of_outcomes_may_have_no_last_axis(kit):
    batches = tf.data.Dataset.from_tensor_slices((X, Y[:, 0])).batch(10)
    model = normal(kit)
    start = model.get_weights()
    expected = nllfit.fit(model, X, Y, batch_size=10, shuffle=False, verbose=0, compile="graph").history
    model.set_weights(start)
    assert_same(nllfit.fit(model, batches, verbose=0, compile="graph").history, expected)
    model.set_weights(start)
    assert_same(by_keras(model, batches, shuffle=False), expected)


@pytest.mark.thorough  # `test_a_callback_that_fails_leaves_the_weights_of_its_epoch` also has this callback
@mainly(keras)
def test_an_unused_callback_is_accepted(kit):
    history = nllfit.fit(normal(kit), X, Y, verbose=0, callbacks=[kit.keras.callbacks.TerminateOnNaN()])
    assert history.epoch == [0]


@mainly(keras, "k")
def test_a_run_after_a_resumed_one_starts_again(k, tmp_path):
    model = k.Sequential([k.layers.Input((2,)), k.layers.Dense(1)])
    model.compile("sgd", "mse")

    def run(epochs, *callbacks):
        return nllfit.fit(model, X, Y, epochs=epochs, verbose=0, callbacks=callbacks).epoch

    def cut(at):
        return k.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: 1 / (at - epoch))

    for at in (2, 3):  # interrupt the run, and then interrupt the resumed run
        with pytest.raises(ZeroDivisionError):
            run(5, k.callbacks.BackupAndRestore(tmp_path), cut(at))
    assert run(2) == [0, 1]
    assert run(5, k.callbacks.BackupAndRestore(tmp_path)) == [3, 4]
    assert run(2) == [0, 1]


@pytest.mark.thorough  # covered by all tests with the default `batch_size`, 32: the data here have 20 rows
@mainly(tf_keras)
def test_a_batch_larger_than_the_data_is_one_batch(kit):
    model = normal(kit)
    start = model.get_weights()
    expected = nllfit.fit(model, X, Y, batch_size=len(X), verbose=0, compile="graph").history
    model.set_weights(start)
    assert_same(nllfit.fit(model, X, Y, batch_size=2**70, verbose=0, compile="graph").history, expected)
    predicted = nllfit.predict_distribution(model, X, batch_size=2**70)
    np.testing.assert_allclose(predicted.mean(), model.predict(X, verbose=0), rtol=1e-6)


def test_a_run_has_one_backup_in_a_folder(tmp_path):
    backup = tf_keras.callbacks.BackupAndRestore
    for folder in (3, ""):
        with pytest.raises(TypeError, match=f"BackupAndRestore whose `backup_dir` is {folder!r}: give the path of a"):
            nllfit.fit(normal(KITS[0]), X, Y, callbacks=[backup(folder)])
    with pytest.raises(ValueError, match="`callbacks` holds several BackupAndRestore: give one"):
        nllfit.fit(normal(KITS[0]), X, Y, callbacks=[backup(tmp_path / "a"), backup(tmp_path / "b")])
    assert not list(tmp_path.iterdir())


@each_keras
@pytest.mark.parametrize(
    ("name", "options", "loss", "untrained"),
    [
        ("Normal", {}, "mse", "`scale`"),
        ("Normal", {"shared": ("scale",)}, "mae", "`scale`"),
        ("Normal", {"scale": 1.0}, "mse", None),
        ("Poisson", {}, "mse", None),
        ("Gamma", {}, "mse", None),
        ("Bernoulli", {}, "binary_crossentropy", None),
    ],
)
def test_a_loss_on_the_mean_warns_of_untrained_parameters(kit, name, options, loss, untrained, recwarn):
    head = kit.heads.DistributionHead(name, **options)
    model = kit.keras.Sequential([kit.keras.layers.Input((2,)), kit.keras.layers.Dense(head.params_size()), head])
    model.compile("sgd", loss)
    for _ in range(2):
        outcome_check(model, (tf.constant(X), tf.ones([20, 1])), "y")
    warned = [w for w in recwarn if "is never trained" in str(w.message)]
    messages = [str(w.message) for w in warned]
    assert {w.filename for w in warned} <= {__file__}  # the warning names the caller's line
    assert len(messages) == (untrained is not None)
    assert untrained is None or f"does not depend on {untrained}. A parameter" in messages[0]


def test_failures_are_explained():
    error = tf.errors.InvalidArgumentError(None, None, "while it was tried:\nNo such thing.\n\n\t [[{{node a}}]]\n")
    message = str(failed(keras.Sequential([keras.layers.Dense(1)]), 0, error))
    assert message == "Epoch 1: a step failed: No such thing. The model is as it was before the epoch."
    for text in ("", "\n\nStack trace for op"):
        assert "a step failed: InvalidArgumentError." in str(
            failed(keras.Sequential([keras.layers.Dense(1)]), 0, tf.errors.InvalidArgumentError(None, None, text))
        )


@pytest.mark.thorough
@pytest.mark.parametrize("integer", [np.int64, np.uint8])
@mainly(keras)
def test_numbers_of_rows_and_steps_may_be_integers_of_numpy(kit, integer):
    model = normal(kit)
    start = model.get_weights()

    def losses(kind):
        model.set_weights(start)
        sizes = {"batch_size": 4, "steps_per_epoch": 3, "validation_batch_size": 5, "validation_steps": 2}
        epochs = {"initial_epoch": 1, "epochs": 3, "validation_freq": 2, "seed": 7}
        given = {name: kind(number) for name, number in (sizes | epochs).items()}
        return nllfit.fit(model, X, Y, validation_data=(X, Y), verbose=0, compile="graph", **given).history

    assert losses(integer) == losses(int)


@pytest.mark.thorough
def test_the_epochs_to_evaluate_after_may_be_a_range():
    kit = KITS[0]
    arguments = {"epochs": 5, "validation_data": (X, Y), "verbose": 0, "shuffle": False, "compile": "graph"}
    found = [nllfit.fit(normal(kit), X, Y, validation_freq=f, **arguments) for f in (range(1, 6, 2), [1, 3, 5])]
    assert len(found[0].history["val_loss"]) == 3
    assert found[0].history == found[1].history


def test_an_invalid_seed_is_refused_before_a_member_is_built():
    with pytest.raises(ValueError, match=r"`seed` is 4294967295: give an int >= 0 and <= 4294967294, or None"):
        nllfit.Ensemble.fit(lambda: pytest.fail("built"), 2, X, Y, seed=2**32 - 1)


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [1, 2])
@mainly(tf_keras)
def test_a_sequence_that_raises_stop_iteration_is_an_error(kit, workers):
    sequences = {"tf_keras": tf_keras.utils.Sequence, "keras": keras.utils.PyDataset}

    class RunsDry(sequences[kit.keras.__name__]):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return next(iter([(X[:5], Y[:5])][index // 2 :]))

    batches = RunsDry()
    batches.workers = workers
    with pytest.raises(RuntimeError, match=r"RunsDry.__getitem__\(2\)` raised StopIteration, and its length is 4"):
        nllfit.fit(normal(kit), batches, shuffle=False, verbose=0, compile="graph")
