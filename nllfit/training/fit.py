"""`fit`: trains a model with compiled programs that run several epochs in a call.

Keras calls its training step from Python, once for each batch. For a small model, these calls take up to a hundred
times as long as the arithmetic. `fit` calls the same `model.train_step` in a loop inside one program, with the same
results. Callbacks, history and progress bar come from Keras.
"""

import contextlib
import functools
from collections.abc import Collection

import numpy as np

from nllfit.adapters import adapter_of
from nllfit.adapters.tensorflow import is_op_determinism_enabled
from nllfit.model_inputs import float_dtype
from nllfit.training.batches import batches_of, split_arrays
from nllfit.training.callback_checks import epoch_callbacks
from nllfit.training.callback_loop import CallbackLoop
from nllfit.training.failures import lost_worker_named, unfrozen_weight_explained
from nllfit.training.fit_arguments import as_integers, check_options, check_trainable
from nllfit.training.outcome_support import outcome_check
from nllfit.training.replicas import Replicas
from nllfit.training.run_state import Run

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
    """Trains a compiled Keras model like `model.fit`, but runs no Python code between the steps.

    The results are those of `model.fit`, with five exceptions:

    - With `shuffle=True`, the rows of arrays are in a different random order than in `model.fit`.
    - With `shuffle=True`, the batches of a `Sequence` or `PyDataset` keep their order. `model.fit` shuffles them.
    - Layers that draw random numbers (dropout, sampled heads, uncertain weights) draw different numbers from the
      same distribution. XLA's draws also differ from the graph's.
    - Freezing or unfreezing a layer after `compile` has an effect at once. In Keras, you must call `compile` again.
    - If a model has several outputs, all rows have equal weight in the logged loss of each output. In `model.fit` of
      Keras 3, a partial last batch counts as much as a full batch.

    `fit` takes any compiled model of tf_keras or Keras 3 (on TensorFlow) that does not run eagerly, with or without a
    head, and callbacks that act once per epoch. For other models and callbacks it raises an error. Arrays are checked
    before the first step, other data while they are read.

    If an error, an exception in a callback or Ctrl-C ends the run, the model and its optimizer have the state after the
    last complete epoch, which is also the last in the history. An epoch is complete when its evaluation has ended. But
    after an exception in `on_test_begin`, `on_test_end` or `on_epoch_end`, the model has the state after the last
    training step of the current epoch. As after `model.fit`, the history lacks this epoch, because Keras calls the
    user's callbacks before its `History`.

    Compiled programs are cached by architecture: if two `Sequential` or functional models have one output and the same
    layers, optimizer, loss and metrics, the second trains without a new trace on data of the same shapes. A user's own
    classes and functions, TFP's layers and layers with `adapt` cannot be compared, so a model that contains one of
    these gets its own program. A subclassed model, and a model with several outputs or replicas, also gets its own
    program.

    Under a `MirroredStrategy` or a `MultiWorkerMirroredStrategy`, each replica trains on its share of every batch, and
    the resulting weights are those of training on one device, if layers treat each row separately. (Keras's
    `BatchNormalization` uses the mean and variance of a replica's share.) The number of rows in a training batch must
    be divisible by the number of replicas.

    Reproducibility: graph and XLA compute the same formulas, but round differently. After 100 steps of a small network,
    the weights from graph and XLA differed by 3e-7 to 2e-6. Some runs amplify rounding errors: after 4700 steps of
    Adam(0.01) on a 16-64-64-2 network with tanh, weights differed by up to 3.6. Under `compile="auto"`, measured times
    decide when XLA takes over. If `seed` is given, if `callbacks` has a `BackupAndRestore`, or if TensorFlow's op
    determinism is enabled, the switch to XLA depends only on the number of steps. If the order of rows is also fixed,
    by `seed` or `shuffle=False`, a repeated or resumed run has the same weights to the last digit, with three
    exceptions:

    - tf_keras's dropout, under `compile="xla"` or in a resumed run, unless
      `tf_keras.backend.experimental.enable_tf_random_generator()` was called before the layer was created;
    - a dataset whose order changes;
    - tf_keras's `Nadam`, whose result depends (also in `model.fit`) on how often the training step was traced.

    Args:
      model: a compiled model.
      x: inputs `[n, ...]`, an array or a structure of them; or batches `(x, y)` or `(x, y, sample_weight)`, as a
        `tf.data.Dataset`, a Keras `Sequence` or `PyDataset`, or another iterable. Batches need not fit in memory. A
        `PyDataset` is read ahead by as many threads as its attribute `workers` says. Batches without rows are skipped.
        The length of sequences may differ between batches.
      y: outcomes `[n, ...]`, an array or a structure of them.
      batch_size: rows per step, if the data are arrays; the last batch of an epoch may have fewer. The default is 32.
        If `steps_per_epoch` is given, the default is the number of rows divided by `steps_per_epoch`, rounded up. For
        data other than arrays, `batch_size` has no effect.
      epochs: the number of epochs, including those before `initial_epoch`.
      verbose: 0 for no output, 1 or `"auto"` for Keras's progress bar, 2 for a line per epoch. If one call of the
        program trains several epochs, their mean time is shown for each of them.
      callbacks: Keras callbacks that act once per epoch. If they contain a `BackupAndRestore`, `fit` itself writes the
        backups, into the folder of this callback. If a run was killed, at any moment, even during a write, the same
        call of `fit` resumes it. With arrays in a fixed order (by `seed` or `shuffle=False`), or with a `Sequence` or
        `PyDataset` whose batches depend only on their index, the resumed run ends with exactly the weights of an
        uninterrupted run. But a backup does not contain the position in an iterable, such as a `tf.data.Dataset` or a
        generator, or in a `PyDataset` with `steps_per_epoch`. In a resumed run, a generator goes on from its current
        position. All others begin again at their first batch, and a `tf.data.Dataset` also repeats its shuffles. With
        these data, the weights are the same only if every epoch reads the same batches in the same order. A backup
        contains the state of Keras's `EarlyStopping`, `ModelCheckpoint` and `ReduceLROnPlateau`, but not of other
        callbacks. If a callback had stopped the run, the same call trains no more epochs, but a call with callbacks of
        other classes continues. Without a `seed`, a resumed run draws a new seed. If the killed run had no more epochs
        to train, `history` contains only the logs of the last epoch. The `.keras` or `.h5` file of a `ModelCheckpoint`
        is always complete, because a new file replaces the previous file only when the new one has been written.
      validation_split: the fraction of rows to hold out as validation data. The last rows of the arrays are held out.
        Ignored if `validation_data` is given.
      validation_data: `(x, y)` or `(x, y, sample_weight)`, or a dataset, to evaluate on after an epoch.
      shuffle: whether arrays are put in a new order each epoch. Other data are always read in their own order: shuffle
        a `Sequence` or `PyDataset` in its `on_epoch_end`, and a `tf.data.Dataset` by `.shuffle`.
      class_weight: `{label: weight}`, a factor in the loss of each row of that class. The factor of all other classes
        is 1.
      sample_weight: a factor in the loss of each row, `[n]`, or of each step of a sequence, `[n, steps]`; or a
        structure of such arrays, one for each output.
      initial_epoch: the epoch to start at, to resume a run; a dataset begins at its first batch, as in `model.fit`.
      steps_per_epoch: steps per epoch; by default one for each batch of the data. If there are more batches than steps,
        the next epoch continues at the next batch. (Each epoch of tf_keras's `Sequence` begins at the first batch, as
        in tf_keras.) If the end of arrays is reached within an epoch, the epoch continues at their beginning (Keras 3
        ends the epoch there). Other data must not end within an epoch. An infinite `tf.data.Dataset` needs
        `steps_per_epoch`.
      validation_steps: steps per evaluation; by default one for each batch. Each evaluation begins at the first batch,
        unless the data come from a generator.
      validation_batch_size: rows per step of validation arrays; by default `batch_size`.
      validation_freq: an integer `k`, to evaluate after every `k` epochs; or the epochs to evaluate after, as a list or
        a range, where 1 is the first epoch.
      seed: fixes the order of arrays in every epoch. The order depends only on the seed and the epoch's number, so a
        run that is resumed at `initial_epoch` equals an uninterrupted run. If layers draw random numbers, as dropout
        does, this is true only if a `BackupAndRestore` resumes the run, because a saved model does not contain the
        state of random generators. By default the seed comes from NumPy's global generator.
      compile: `"xla"`; `"graph"`, without XLA; or `"auto"`, which trains in the graph until XLA has compiled in another
        thread, and then in the faster of the two. If `seed` is given, if `callbacks` has a `BackupAndRestore`, or if
        TensorFlow's op determinism is enabled, an `"auto"` run switches to XLA at the start of the epoch that contains
        step 2001 (counted from epoch 0), and waits for XLA there. But such a run stays in the graph if the model has
        convolutions or embeddings, or if the number of steps is unknown. Every `"auto"` run stays in the graph if there
        are several replicas, if data hold strings, if XLA cannot compile a step, or if layers draw random numbers from
        a state that is not in a variable. tf_keras's dropout uses such a state unless
        `tf_keras.backend.experimental.enable_tf_random_generator()` was called.

    Returns:
      Keras's `History`.

    Raises:
      TypeError: if `model` is not a Keras model, or if a loss, a metric or a callback is not of the model's
        Keras version, or if `x` is neither arrays nor batches.
      ValueError: if one of these is true:
        - The model is not compiled, or only `model.fit` can train it, because it runs eagerly or has several replicas
          under a strategy other than `MirroredStrategy` and `MultiWorkerMirroredStrategy`.
        - Data are empty, sparse, not finite or of different lengths. (A dataset is checked while it is read.)
        - A weight is negative, or the data are arrays and all weights are 0.
        - An outcome is outside a head's support.
        - The replicas cannot share a batch equally.
        - A dataset or an iterable ends within an epoch of `steps_per_epoch` steps, or a dataset is infinite and
          `steps_per_epoch` is not given.
        - A callback acts on every batch, or a number of epochs, rows or steps is invalid.
        - `compile` is "xla", and XLA cannot compile a step, data hold strings, or there are several replicas.
        - A backup belongs to a run with another model, optimizer or seed.
        - A weight that was frozen in the first fit, when the optimizer created its variables, is trainable now.
        - A step fails, for example because an index is out of range.
      OSError: if a backup cannot be read, for example because its file `checkpoint` is lost; or if it cannot be
        written, for example because the disk is full. If a write fails, the previous backup is intact.
      ConnectionError: if one of several workers is lost and TensorFlow's message names a worker. The error says how to
        start again. With two workers, the error also names the lost worker. With more workers, it does so only if
        TensorFlow's message names a worker other than the worker that raises the error. If TensorFlow's message names
        no worker, TensorFlow's error is raised.
      FloatingPointError: if the loss or a trainable weight is not finite after an epoch or after a part of a long
        epoch, or if a parameter of a head is not finite in a step. If a weight is not finite, the message names the
        first layer with such a weight.

    Example:
      >>> model.compile("adam", nllfit.negative_log_likelihood)
      >>> history = nllfit.fit(model, x, y, batch_size=2, epochs=20, validation_split=0.25, verbose=0)
      >>> sorted(history.history)
      ['loss', 'val_loss']
    """
    check_trainable(model, ("MirroredStrategy", "MultiWorkerMirroredStrategy"))
    batch_size, validation_batch_size, steps_per_epoch, validation_steps = as_integers(
        optional=True,
        batch_size=batch_size,
        validation_batch_size=validation_batch_size,
        steps_per_epoch=steps_per_epoch,
        validation_steps=validation_steps,
    )
    epochs, initial_epoch = as_integers(0, epochs=epochs, initial_epoch=initial_epoch)
    (seed,) = as_integers(0, optional=True, seed=seed)
    check_options(validation_split, validation_freq, verbose, shuffle, compile)
    if validation_split and validation_data is None:
        (x, y, sample_weight), validation_data = split_arrays(x, y, sample_weight, validation_split)
    replicas = Replicas.of(model.distribute_strategy)
    compile = _compile_mode(compile, replicas)
    check = functools.partial(outcome_check, model, has_metrics=True)
    source = functools.partial(batches_of, floatx=float_dtype(model), check=check, replicas=replicas)
    train = source(
        *(x, y, sample_weight),
        class_weight=class_weight,
        batch_size=batch_size,
        steps=steps_per_epoch,
        seed=_order_seed(model, replicas, seed) if shuffle else None,
    )
    validation = None
    if validation_data is not None:
        sizes = {"batch_size": validation_batch_size or batch_size, "steps": validation_steps}
        validation = source(*_validation_arguments(validation_data), **sizes, restarts=True, name="validation_data")
    callbacks = epoch_callbacks(callbacks, model)
    backs_up = any(isinstance(c, adapter_of(model).keras.callbacks.BackupAndRestore) for c in callbacks)
    repeatable = seed is not None or backs_up or is_op_determinism_enabled()
    params = {"verbose": 1 if verbose == "auto" else verbose, "epochs": epochs, "steps": train.steps}
    with lost_worker_named(model.distribute_strategy), unfrozen_weight_explained(model), _rows_counted(model, train):
        run = Run(model, compile, train, validation, epochs - initial_epoch, repeatable)
        evaluates = functools.partial(_evaluates, validation, validation_freq)
        return CallbackLoop(model, run, callbacks, params, evaluates, seed).train(initial_epoch)


def _compile_mode(compile, replicas):
    """Returns the value of `compile` to use.

    With several replicas, "auto" becomes "graph", and "xla" is refused, because XLA cannot sum over replicas.
    """
    if replicas.count > 1 and compile == "xla":
        raise ValueError('`compile` is "xla", and the model has several replicas: give "graph" or "auto".')
    return "graph" if replicas.count > 1 else compile


@contextlib.contextmanager
def _rows_counted(model, train):
    """A context in which layers with `kl_weight="1/n"` know the number of training rows."""
    layers = [layer for layer in adapter_of(model).layers if getattr(layer, "counts_rows", False)]
    count = train.num_rows if layers else None
    for layer in layers:
        layer.count_rows(count)
    try:
        yield
    finally:
        for layer in layers:
            layer.count_rows(None)


def _order_seed(model, replicas, seed):
    """Returns the seed of the order of rows: the user's seed, or a number from NumPy's global generator."""
    if seed is None:
        return replicas.agree(model.distribute_strategy, int(np.random.randint(2**31)))
    return seed


def _validation_arguments(validation_data):
    """Returns `x`, `y` and `sample_weight` of the validation data."""
    parts = validation_data if isinstance(validation_data, (tuple, list)) else [validation_data]
    if len(parts) > 3:
        raise ValueError(f"`validation_data` has {len(parts)} parts: give (x, y) or (x, y, sample_weight).")
    return [*parts, None, None][:3]


def _evaluates(validation, frequency, epoch):
    if validation is None:
        return False
    return epoch + 1 in frequency if isinstance(frequency, Collection) else (epoch + 1) % int(frequency) == 0
