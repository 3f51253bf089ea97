"""Training: `fit`, whole epochs as one compiled program.

Keras calls its training step from Python, once a batch; for a small model that costs up to a hundred times the
arithmetic. `fit` calls the same `model.train_step` in a loop inside one program, so that the numbers are Keras's and
the time is the arithmetic's. What Keras does around the steps (callbacks, history, progress bar) is Keras's own.
"""

import functools
import warnings

import numpy as np
import tensorflow as tf

from nllfit.kerases import float_dtype, keras_of
from nllfit.training.arguments import check_integers, check_options, check_trainable, epoch_callbacks, only_reads
from nllfit.training.backups import Backup
from nllfit.training.batches import batches_of, split_arrays
from nllfit.training.failures import failed, lost_worker_named, not_finite
from nllfit.training.outcomes import outcome_check
from nllfit.training.replicas import Replicas
from nllfit.training.runs import Run, Watched, numbers

__all__ = ["fit"]


def fit(
    model,
    x,
    y=None,
    *,
    batch_size=None,
    epochs=1,
    verbose="auto",
    callbacks=None,
    validation_split=0.0,
    validation_data=None,
    shuffle=True,
    class_weight=None,
    sample_weight=None,
    initial_epoch=0,
    steps_per_epoch=None,
    validation_steps=None,
    validation_batch_size=None,
    validation_freq=1,
    seed=None,
    compile="auto",
):
    """Trains a compiled Keras model as `model.fit` does, to the same numbers, with no Python between the steps.

    Any model of tf_keras or of Keras 3 (on TensorFlow), with a head or without. Data are checked before the first
    step: what raises has not touched a weight.

    A program is kept for its architecture, so that another model of the same layers, optimizer, loss and metrics waits
    for nothing; of a user's own classes and functions nothing is known, and each such model has a program of its own.

    A model of `tf.distribute`'s `MirroredStrategy` or `MultiWorkerMirroredStrategy` is trained by all its replicas,
    each on its share of every batch, to the weights of one; batches to train on are those that they can share alike.

    A seeded run can be repeated, but for tf_keras's dropout under `compile="xla"`. The losses of single outputs count
    each row alike, where Keras 3 gives a partial last batch the weight of a full one. The numbers of tf_keras's
    `Nadam`, which counts in Python how often it is traced, depend on that, here and in `model.fit`. Ctrl-C leaves the
    model as it is after the last whole steps, within an epoch or after it.

    Args:
      model: a compiled model.
      x: inputs `[n, ...]`, an array or a structure of them; or batches `(x, y)` or `(x, y, sample_weight)`, as a
        `tf.data.Dataset` or another iterable, which may be larger than memory.
      y: outcomes `[n, ...]`, an array or a structure of them.
      batch_size: rows a step, of arrays; the last batch of an epoch may have fewer. None for 32 or, where
        `steps_per_epoch` are given, for as many as share out all rows.
      epochs: the epoch to stop at.
      verbose: 0 for silence, 1 or `"auto"` for Keras's progress bar, 2 for a line an epoch.
      callbacks: Keras callbacks that act once an epoch. Of `BackupAndRestore` it takes the folder, and writes the
        backups itself: killed at any moment, be it in a write, the same call goes on, and ends as if never stopped.
        The `.keras` or `.h5` file of a `ModelCheckpoint` is the last that was written whole.
      validation_split: the fraction of the arrays' last rows to hold out as validation data.
      validation_data: `(x, y)` or `(x, y, sample_weight)`, or a dataset, to evaluate after an epoch.
      shuffle: whether arrays are put in a new order each epoch.
      class_weight: `{label: weight}`, a factor in the loss of each row of that class.
      sample_weight: a factor in the loss of each row, `[n]`, or a structure of them, one for each output.
      initial_epoch: the epoch to start at, for a run resumed.
      steps_per_epoch: steps an epoch, None for all the data. Data with more go on in the next epoch.
      validation_steps, validation_batch_size: the same for validation data.
      validation_freq: epochs between evaluations, or a list of the epochs, from 1, to evaluate after.
      seed: fixes the order of every epoch, which depends on it and on the epoch's number alone, so that a run resumed
        at `initial_epoch` is the run that never stopped; but not from a file of Keras's, where layers draw random
        numbers, as dropout does: a `BackupAndRestore` keeps the state of their generators, a saved model does not.
        None draws one from NumPy's global generator.
      compile: `"xla"`; `"graph"`, without XLA; or `"auto"`, which trains in the graph until XLA has compiled in another
        thread, and then in the faster of them; where layers draw random numbers, in the graph alone.

    Returns:
      Keras's `History`.

    Raises:
      TypeError: if `model` is no Keras model, or a callback is not of its Keras.
      ValueError: if a step fails, as where an index is out of range, the model being then as it was before the epoch;
        if the model is not compiled, or is one only `model.fit` can train (run eagerly, or of another strategy); for
        a batch that the replicas cannot share alike; for data that are empty, not finite, of lengths that differ or
        outside a head's support; for a callback that needs batches; for a number of epochs, rows or steps that cannot
        be.
        A dataset is checked as it comes; if it turns bad the model is as it was before the epoch.
      OSError: if a backup cannot be read or written, as on a full disk; the one before it is whole.
      ConnectionError: if a worker of several is lost; it says which, and how to start again.
      FloatingPointError: at the end of an epoch whose loss or weights are not finite, with the first such layer; the
        model is then as it was after the epoch before.

    Example:
      >>> model.compile("adam", nllfit.negative_log_likelihood)
      >>> history = nllfit.fit(model, x, y, batch_size=2, epochs=20, validation_split=0.25, verbose=0)
      >>> sorted(history.history)
      ['loss', 'val_loss']
    """
    check_trainable(model, ("MirroredStrategy", "MultiWorkerMirroredStrategy"))
    check_integers(optional=True, batch_size=batch_size, validation_batch_size=validation_batch_size)
    check_integers(optional=True, steps_per_epoch=steps_per_epoch, validation_steps=validation_steps)
    check_integers(0, epochs=epochs, initial_epoch=initial_epoch)
    check_integers(0, optional=True, seed=seed)
    check_options(
        validation_split=validation_split,
        validation_freq=validation_freq,
        verbose=verbose,
        shuffle=shuffle,
        compile=compile,
    )
    if validation_split and validation_data is None:
        (x, y, sample_weight), validation_data = split_arrays(x, y, sample_weight, validation_split)
    keras = keras_of(model)
    replicas = Replicas.of(model.distribute_strategy)
    if replicas.count > 1:
        if compile == "xla":
            raise ValueError('`compile` is "xla", and the model has several replicas: give "graph" or "auto".')
        compile = "graph"
    if seed is None:
        seed = replicas.agree(model.distribute_strategy, int(np.random.randint(2**31)))  # fixed by `set_random_seed`
    common = {
        "floatx": float_dtype(model),
        "check": functools.partial(outcome_check, model),
        "replicas": replicas,
    }
    train = batches_of(
        x,
        y,
        sample_weight,
        **common,
        class_weight=class_weight,
        batch_size=batch_size,
        steps=steps_per_epoch,
        seed=seed if shuffle else None,
    )
    validation = None
    if validation_data is not None:
        parts = validation_data if isinstance(validation_data, (tuple, list)) else [validation_data]
        if len(parts) > 3:
            raise ValueError(f"`validation_data` has {len(parts)} parts: give (x, y) or (x, y, sample_weight).")
        validation = batches_of(
            *[*parts, None, None][:3],
            **common,
            batch_size=validation_batch_size or batch_size,
            steps=validation_steps,
            restarts=True,
            name="validation_data",
        )
    verbose = 1 if verbose == "auto" else verbose
    callbacks = epoch_callbacks(callbacks, model)
    folders = [c for c in callbacks if isinstance(c, keras.callbacks.BackupAndRestore)]
    callbacks = keras.callbacks.CallbackList(
        [c for c in callbacks if c not in folders],
        add_history=True,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=train.steps,
    )
    with lost_worker_named(model.distribute_strategy):
        return _train(
            model, keras, train, validation, callbacks, folders, initial_epoch, epochs, validation_freq, compile
        )


def _train(model, keras, train, validation, callbacks, folders, initial_epoch, epochs, validation_freq, compile):
    bars = [c for c in callbacks.callbacks if isinstance(c, keras.callbacks.ProgbarLogger)]
    histories = [c for c in callbacks.callbacks if isinstance(c, keras.callbacks.History)]
    others = [c for c in callbacks.callbacks if c not in bars + histories]
    act = bool(folders) or not all(map(only_reads, others))
    run = Run(model, compile, train, validation, epochs - initial_epoch)
    if folders and run.draws:
        warnings.warn(
            "A layer draws random numbers from a state that no backup can hold: a run that goes on from one will draw "
            "others. Call `tf_keras.backend.experimental.enable_tf_random_generator()` before the model is made.",
            stacklevel=3,
        )
    for callback in [*filter(only_reads, others), *histories]:
        callback.set_model(Watched(model, run.look, run.weights))
    model.stop_training = False
    callbacks.on_train_begin()
    backups = [Backup(folder, model, run.variables, others) for folder in folders]
    epoch, logs = initial_epoch, None
    for backup in backups:
        epoch = backup.begin(initial_epoch)
    while epoch < epochs and not model.stop_training:
        callbacks.on_epoch_begin(epoch)
        evaluates = [
            validation is not None and _evaluates(e, validation_freq)
            for e in range(epoch, min(epochs, epoch + Run.MOST_EPOCHS))
        ]
        try:
            stretch = run.stretch(epoch, evaluates[:1] if act else evaluates, bool(others), bars)
        except ValueError:  # a dataset that turned out bad
            run.undo()
            raise
        except tf.errors.InvalidArgumentError as error:
            raised = failed(model, epoch, error)
            run.undo()
            raise raised from error
        good = stretch.epochs if stretch.finite else stretch.epochs - 1
        message = None if stretch.finite else not_finite(model, epoch + good, numbers(stretch.logs, good).get("loss"))
        try:
            for i in range(good):
                if i:
                    callbacks.on_epoch_begin(epoch + i)
                logs = numbers(stretch.logs, i)
                run.show(i)
                if evaluates[i]:
                    callbacks.on_test_begin()
                    scores = numbers(stretch.scores, i)
                    callbacks.on_test_end(scores)
                    logs |= {f"val_{name}": score for name, score in scores.items()}
                callbacks.on_epoch_end(epoch + i, logs)
                for backup in backups:
                    backup.save(epoch + i + 1)
                if model.stop_training:
                    break
        finally:
            run.look()
        epoch += good
        if message and not model.stop_training:
            if not good:
                run.undo()
            raise FloatingPointError(message)
    if epochs > 0 and hasattr(model.optimizer, "finalize_variable_values"):
        model.optimizer.finalize_variable_values(model.trainable_variables)
    for callback in others + histories:
        callback.set_model(model)
    callbacks.on_train_end(logs)
    for backup in backups:
        backup.end()
    return model.history


def _evaluates(epoch, frequency):
    return epoch + 1 in frequency if isinstance(frequency, (list, tuple, set)) else (epoch + 1) % frequency == 0
