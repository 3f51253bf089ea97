"""The functions that TensorFlow traces to build a program: a step, and loops over steps and epochs."""

import functools

import numpy as np
import tensorflow as tf

from nllfit.adapters import adapter_of
from nllfit.adapters.keras_models import is_keras_code
from nllfit.adapters.tensorflow import seen_by_autograph, trace
from nllfit.training.replicas import Replicas

__all__ = ["TracedEpochs", "one_step", "split"]

# Variables with at most this number of elements are joined into one vector, because copying a variable into the vector
# is faster than another write to a `TensorArray`.
_MAX_JOINED_SIZE = 2**16


def one_step(model, mode):
    """Returns the `train_step` or `test_step` of a model as a function of a batch.

    The batch is `(x,)`, `(x, y)` or `(x, y, sample_weight)`.
    """
    strategy = model.distribute_strategy  # Keras 3's optimizers create their variables in the strategy's scope
    replicas = Replicas.of(strategy)
    # If the logs are metrics, `TracedEpochs` computes them over all replicas, at the end of an epoch.
    are_metrics = all(is_keras_code(getattr(model, name)) for name in (f"{mode}_step", "compute_metrics"))

    def reduced(t):
        """Combines the values that one entry of Keras's `logs` has in the replicas, as Keras does."""
        if are_metrics or not (replicas.on_machines or isinstance(t, tf.distribute.DistributedValues)):
            return strategy.experimental_local_results(t)[0]
        return strategy.reduce(adapter_of(model).step_reduction, t, axis=None)

    def step(data):
        # As in Keras, a user's `train_step` gets `x` and not `(x,)` if there are no outcomes.
        has_only_x = len(data) == 1 and not isinstance(data[0], (list, tuple))
        model_step = getattr(model, f"{mode}_step")

        def replica_step(data):
            return model_step(replicas.share(data))

        with strategy.scope():
            logs = strategy.run(model_step if replicas.local == 1 else replica_step, (data[0] if has_only_x else data,))
            return tf.nest.map_structure(reduced, logs)

    return seen_by_autograph(step)


class TracedEpochs:
    """The function that TensorFlow traces to build a program.

    In mode "train" it runs epochs of training steps, and can evaluate the model after each epoch. In mode "test" it
    runs epochs of test steps.

    A call with the tensors of a chunk returns the first five fields of `epoch_programs.Stretch`. In the third field,
    `states`, small variables are joined to vectors, as `_joined` does. `split` extracts the states of each variable
    from these vectors.

    Args:
      model: the model that is trained or evaluated.
      mode: `"train"` or `"test"`.
      steps: maps each mode to its step, a function of a batch.
      layout: the layout of the chunk.
      changed: the variables to record after each epoch.
      weights: the variables that must stay finite.
    """

    def __init__(self, model, mode, steps, layout, changed, weights):
        self._model, self._layout, self._changed, self._weights = model, layout, changed, weights
        self._step, self._test = steps[mode], steps["test"]

    def __call__(self, *tensors):
        inputs, bounds = self._layout.pack(list(tensors))
        with self._model.distribute_strategy.scope():
            no_logs = _zeros(self._step, self._layout.batch)
            held_out = self._layout.held_out_batch
            no_scores = {} if held_out is None else _zeros(self._test, held_out)

            def one_epoch(epoch, finite, log_arrays, score_arrays, state_arrays):
                logs = self._trained(inputs, bounds, epoch, no_logs)
                finite = _finite(logs, self._weights)
                scores = no_scores
                if held_out is not None:
                    evaluates = inputs.evaluates[epoch] & finite
                    scores = tf.cond(evaluates, lambda: self._evaluated(inputs, no_scores), lambda: no_scores)
                written = _written(log_arrays, epoch, logs), _written(score_arrays, epoch, scores)
                return epoch + 1, finite, *written, _written(state_arrays, epoch, _joined(self._changed))

            # We call `while_loop` ourselves, because AutoGraph's conversion of a Python loop took longer than the rest
            # of the trace.
            arrays = [self._arrays(values) for values in (no_logs, no_scores, _joined(self._changed))]
            epoch, finite, log_arrays, score_arrays, state_arrays = tf.while_loop(
                lambda epoch, finite, *_: (epoch < bounds.epochs) & finite, one_epoch, (0, True, *arrays)
            )
            logs, scores = _stacked(log_arrays, no_logs), _stacked(score_arrays, no_scores)
            return logs, scores, [array.stack() for array in state_arrays], epoch, finite

    def _trained(self, inputs, bounds, epoch, no_logs):
        """Runs the steps of an epoch and returns the logs."""
        tf.cond(bounds.starts > 0, self._reset_metrics, lambda: 0)
        batch = self._batches(inputs, epoch)
        logs = _repeated(self._step, batch, bounds.first, bounds.last, no_logs)
        if not isinstance(inputs.rest, tuple):
            logs = _repeated(self._step, lambda i: _gathered(inputs.data, inputs.rest[epoch]), 0, bounds.ends, logs)
        return self._logs_of_all_replicas(logs)

    def _batches(self, inputs, epoch):
        """Returns the function that gathers the batch of a step."""
        # At the start of an epoch we copy small data into the order of the batches. Then a step gathers the rows of its
        # batch in half the time, because they are next to each other in memory.
        if self._layout.is_small:
            return functools.partial(_gathered, _gathered(inputs.data, inputs.order[epoch]))
        return lambda i: _gathered(inputs.data, inputs.order[epoch, i])

    def _evaluated(self, inputs, scores):
        """Evaluates the model on the held-out batches and returns the logs."""
        self._reset_metrics()
        for i, stack in enumerate(inputs.held_out):
            scores = _repeated(self._test, functools.partial(_gathered, stack), 0, inputs.held_out_steps[i], scores)
        return self._logs_of_all_replicas(scores)

    def _reset_metrics(self):
        self._model.reset_metrics()
        return 0

    def _logs_of_all_replicas(self, logs):
        """Returns the logs of an epoch for all replicas.

        `logs` are the logs of the last step in one replica. With several replicas, the metrics are computed again over
        all replicas, as in Keras.
        """
        several = self._model.distribute_strategy.num_replicas_in_sync > 1
        results = self._model.get_metrics_result() if several else logs
        return results if results.keys() == logs.keys() else logs

    def _arrays(self, values):
        return [tf.TensorArray(t.dtype, self._layout.capacity, element_shape=t.shape) for t in tf.nest.flatten(values)]


def _repeated(step, batch, first, last, logs):
    """Runs a step on each `batch(i)` for `first <= i < last`.

    Returns the logs of the last step, or `logs` if there is no step.
    """
    # We use a `while_loop`, because XLA would compile a loop over `tf.range(last)` again for each value of `last`.
    return tf.while_loop(lambda i, _: i < last, lambda i, _: (i + 1, step(batch(i))), (first, logs))[1]


def _zeros(step, batch):
    outputs = trace(step, batch).structured_outputs
    return tf.nest.map_structure(lambda t: tf.zeros(t.shape, t.dtype), outputs)


def _gathered(data, rows):
    return tf.nest.map_structure(lambda t: tf.gather(t, rows), data)


def _finite(logs, weights):
    loss = logs.get("loss") if isinstance(logs, dict) else None
    floating = [*weights, *(t for t in tf.nest.flatten(loss) if t is not None and t.dtype.is_floating)]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(t)) for t in _joined(floating)])


def _groups(variables):
    """Divides variables into lists for `_joined`.

    Small variables of the same dtype share a list. Each variable that is large or has no static shape has its own list.
    """
    groups: dict[tf.DType | int, list] = {}
    for v in variables:
        size = v.shape.num_elements()  # None if a shape is unknown
        groups.setdefault(v.dtype if size is not None and size <= _MAX_JOINED_SIZE else id(v), []).append(v)
    return list(groups.values())


def _joined(variables):
    """Joins each list of `_groups` into one vector, because each write to an array adds to XLA's compilation time.

    A variable that is alone in a list keeps its shape.
    """
    return [
        tf.concat([tf.reshape(v, [-1]) for v in group], 0) if group[1:] else group[0] for group in _groups(variables)
    ]


def split(states, variables):
    """Returns the states of each variable, one for each epoch, from the recorded vectors of `_joined`."""
    states_by_id = {}
    for state, group in zip(states, _groups(variables), strict=True):
        ends = np.cumsum([v.shape.num_elements() for v in group[:-1]], dtype=int)
        for v, values in zip(group, np.split(state, ends, axis=1) if group[1:] else [state], strict=True):
            states_by_id[id(v)] = values.reshape(len(values), *v.shape) if group[1:] else values
    return [states_by_id[id(v)] for v in variables]


def _written(arrays, epoch, values):
    return [array.write(epoch, value) for array, value in zip(arrays, tf.nest.flatten(values), strict=True)]


def _stacked(arrays, like):
    return tf.nest.pack_sequence_as(like, [array.stack() for array in arrays])
