"""Loops: what a program does, as TensorFlow traces it."""

import functools

import numpy as np
import tensorflow as tf

from nllfit.kerases import is_kerases_own, keras_of
from nllfit.training.replicas import Replicas

__all__ = ["loops", "one_step", "split"]

_SMALL = 2**16  # numbers, which are copied in less time than another write takes


def one_step(model, mode):
    """The `train_step` or `test_step` of a model, of a batch `(x,)`, `(x, y)` or `(x, y, sample_weight)`."""
    strategy = model.distribute_strategy  # in whose scope an optimizer of Keras 3 makes its variables
    replicas = Replicas.of(strategy)
    # Where they are metrics, `loops` takes the value for all replicas at the end.
    are_metrics = all(is_kerases_own(getattr(model, name)) for name in (f"{mode}_step", "compute_metrics"))

    def reduced(t):
        """What Keras makes of a log of each replica."""
        if are_metrics or not (replicas.on_machines or isinstance(t, tf.distribute.DistributedValues)):
            return strategy.experimental_local_results(t)[0]
        return strategy.reduce("SUM" if keras_of(model).__name__ == "tf_keras" else "MEAN", t, axis=None)

    def step(data):
        # Inputs alone are not in a tuple of one, for a step of the user's own.
        alone = len(data) == 1 and not isinstance(data[0], (list, tuple))
        of_model = getattr(model, f"{mode}_step")

        def of_replica(data):
            return of_model(replicas.share(data))

        with strategy.scope():
            logs = strategy.run(of_model if replicas.local == 1 else of_replica, (data[0] if alone else data,))
            return tf.nest.map_structure(reduced, logs)

    step.autograph_info__ = {}  # AutoGraph converts what it calls, as in Keras, and spends no time on it
    return step


def loops(model, steps, mode, work, changed, weights):
    """The function of the tensors of such `work` that does it; see `programs.Stretch` for what it returns.

    Args:
      model: of the steps, whose metrics are reset.
      steps: `{"train": ..., "test": ...}`, functions of a batch.
      mode: which of them to do.
      work: an example of the work.
      changed: the variables to record after each epoch.
      weights: those that must be finite.
    """
    step, test = steps[mode], steps["test"]
    strategy = model.distribute_strategy
    capacity = work.capacity

    def reset_metrics():
        model.reset_metrics()
        return 0

    def of_all_replicas(logs):
        """What the metrics come to at the end of an epoch, as in Keras, which at a step has those of each replica."""
        results = model.get_metrics_result() if strategy.num_replicas_in_sync > 1 else logs
        return results if results.keys() == logs.keys() else logs

    def run(*tensors):
        with strategy.scope():
            return run_in_scope(*tensors)

    def run_in_scope(*tensors):
        numbers, evaluates, data, order, rest, stacks = work.unflatten(list(tensors))
        first, last, epochs, starts, ends, *sizes = tf.unstack(numbers)
        no_logs = _zeros(step, work.batch_specs())
        no_scores = _zeros(test, tf.nest.map_structure(_of_batch, stacks[0])) if stacks else {}
        logs_of = [_array(t, capacity) for t in tf.nest.flatten(no_logs)]
        scores_of = [_array(t, capacity) for t in tf.nest.flatten(no_scores)]
        states_of = [_array(t, capacity) for t in _joined(changed)]

        def one_epoch(epoch, finite, logs_of, scores_of, states_of):
            tf.cond(starts > 0, reset_metrics, lambda: 0)
            if work.is_small:  # a step reads rows that lie together in half the time
                batch = functools.partial(_gathered, _gathered(data, order[epoch]))
            else:

                def batch(i):
                    return _gathered(data, order[epoch, i])

            logs = _repeated(step, batch, first, last, no_logs)
            if rest is not None:
                logs = _repeated(step, lambda i: _gathered(data, rest[epoch]), 0, ends, logs)
            logs = of_all_replicas(logs)
            finite = _finite(logs, weights)

            def evaluation():
                reset_metrics()
                scores = no_scores
                for stack, size in zip(stacks, sizes, strict=True):
                    scores = _repeated(test, functools.partial(_gathered, stack), 0, size, scores)
                return of_all_replicas(scores)

            scores = tf.cond(evaluates[epoch] & finite, evaluation, lambda: no_scores) if stacks else no_scores
            written = _written(logs_of, epoch, logs), _written(scores_of, epoch, scores)
            return epoch + 1, finite, *written, _written(states_of, epoch, _joined(changed))

        # By hand: to let AutoGraph write it took longer than all of the tracing.
        epoch, finite, logs_of, scores_of, states_of = tf.while_loop(
            lambda epoch, finite, *_: (epoch < epochs) & finite, one_epoch, (0, True, logs_of, scores_of, states_of)
        )
        logs, scores = _stacked(logs_of, no_logs), _stacked(scores_of, no_scores)
        return logs, scores, [array.stack() for array in states_of], epoch, finite

    return run


def _repeated(step, batch, first, last, logs):
    """Steps on `batch(i)` from `first` to before `last`; the logs of the last, or those given where there is none."""
    # XLA would compile `tf.range(last)` anew for each number of steps.
    return tf.while_loop(lambda i, _: i < last, lambda i, _: (i + 1, step(batch(i))), (first, logs))[1]


def _zeros(step, batch):
    outputs = step.get_concrete_function(batch).structured_outputs
    return tf.nest.map_structure(lambda t: tf.zeros(t.shape, t.dtype), outputs)


def _of_batch(stack):
    return tf.TensorSpec(stack.shape[1:], stack.dtype)


def _gathered(data, rows):
    return tf.nest.map_structure(lambda t: tf.gather(t, rows), data)


def _finite(logs, weights):
    loss = logs.get("loss") if isinstance(logs, dict) else None
    floating = [*weights, *(t for t in tf.nest.flatten(loss) if t is not None and t.dtype.is_floating)]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(t)) for t in _joined(floating)])


def _kinds(variables):
    """Lists of variables to be one vector each: small ones of one dtype, while a large one stays alone."""
    kinds = {}
    for v in variables:
        size = v.shape.num_elements()  # None where a shape is not known
        kinds.setdefault(v.dtype if size is not None and size <= _SMALL else id(v), []).append(v)
    return list(kinds.values())


def _joined(variables):
    """Variables as a vector of each kind: XLA takes as long to compile one write as another, however small."""
    return [tf.concat([tf.reshape(v, [-1]) for v in kind], 0) if kind[1:] else kind[0] for kind in _kinds(variables)]


def split(states, variables):
    """The states of each of the variables, arrays `[capacity, ...]`, which lie side by side in those of `_joined`."""
    found = {}
    for state, kind in zip(states, _kinds(variables), strict=True):
        ends = np.cumsum([v.shape.num_elements() for v in kind[:-1]], dtype=int)
        for v, part in zip(kind, np.split(state, ends, axis=1) if kind[1:] else [state], strict=True):
            found[id(v)] = part.reshape(len(part), *v.shape) if kind[1:] else part
    return [found[id(v)] for v in variables]


def _array(like, capacity):
    return tf.TensorArray(like.dtype, capacity, element_shape=like.shape)


def _written(arrays, epoch, values):
    return [array.write(epoch, value) for array, value in zip(arrays, tf.nest.flatten(values), strict=True)]


def _stacked(arrays, like):
    return tf.nest.pack_sequence_as(like, [array.stack() for array in arrays])
