"""Programs: a model's training step, looped over a chunk of batches inside one compiled program.

The loop leaves Python, and with XLA also TensorFlow's executor: what remains of a step is its arithmetic.
"""

import itertools
import time
import weakref

import numpy as np
import tensorflow as tf

from nllfit.kerases import made_by_compile, variable_of

__all__ = ["Programs", "kept_for"]

_KEPT = weakref.WeakKeyDictionary()
_COMPILES = ("graph", "xla")
_MEASURED_SECONDS = 0.015  # that tell one way from the other
_CLEAR = 3.0  # times as fast, which needs no second look
_LONG = 0.002  # seconds of the graph's step from which on XLA's convolutions are seldom the faster ones,
_FEW = 1000  # and steps for which it is not worth some seconds to find out


def kept_for(model, make):
    """`make(model)`, made once for a model and kept until it is compiled anew; it must not hold on to the model."""
    compiled = made_by_compile(model)
    made = _KEPT.setdefault(model, {})
    if make not in made or any(a is not b for a, b in zip(made[make][0], compiled, strict=True)):
        made[make] = compiled, make(model)
    return made[make][1]


class Programs:
    """The compiled loops over a model's `train_step` and `test_step`, for chunks of any shape."""

    def __init__(self, model):
        owner = weakref.proxy(model)  # the programs live as long as the model, so they must not keep it alive
        self.choices = {}
        self._steps = {
            "train": tf.function(lambda data: owner.train_step(_as_keras(data))),
            "test": tf.function(lambda data: owner.test_step(_as_keras(data))),
        }
        self._loops = {
            (mode, compile): tf.function(self._loop(mode), jit_compile=compile == "xla" or None)
            for mode in self._steps
            for compile in _COMPILES
        }
        self._traced, self._compilable = {}, {}
        self._copy = None
        self._weights = self._has_convolutions = self.state = None

    def build(self, model, batch):
        """Traces a step on a batch, which makes the variables that do not exist yet, and touches no weight."""
        traced = self._steps["train"].get_concrete_function(_specs(batch))
        if self.state is None:
            self.state = tuple(traced.variables)
            weights = map(variable_of, model.trainable_variables)
            self._weights = tuple(w for w in weights if w.dtype.is_floating)
            self._has_convolutions = _has_convolutions(traced.graph.as_graph_def())
            self._copy = tf.function(self._snapshot).get_concrete_function()

    def run(self, mode, chunk, steps, compile):
        """The logs after `steps` steps of `mode` over a chunk of batches `[k, batch_size, ...]`, and a `copy`.

        The program makes the copy, for one more call would cost as much as some dozen steps; after a test it is None.
        """
        if compile == "xla" and _has_strings(chunk):
            raise ValueError('The data hold strings, which XLA does not take: fit with `compile="graph"` or `"auto"`.')
        steps = tf.constant(steps)
        key = mode, compile, _shapes(chunk)
        if key not in self._traced:  # traced by hand: TensorFlow warns of functions it traces often, as here by intent
            self._traced[key] = self._loops[mode, compile].get_concrete_function(chunk, steps)
        return self._traced[key](chunk, steps)

    def copy(self):
        """A copy of all that training changes, and whether the weights are finite."""
        return self._copy()

    def _snapshot(self):
        finite = [tf.reduce_all(tf.math.is_finite(w)) for w in self._weights]
        return [tf.identity(v) for v in self.state], tf.reduce_all(finite)

    def restore(self, copies):
        """Puts a copy back."""
        for variable, copied in zip(self.state, copies, strict=True):
            variable.assign(copied)

    def faster(self, chunk, steps, left):
        """`"xla"` or `"graph"`, whichever takes less time for the first steps of a chunk; the steps are undone.

        A rule will not do. On a CPU, XLA's convolutions are up to 50 times slower than the graph's and its small
        embeddings twice as slow; but its tiny convolutions are 4 times faster, and recurrent layers may not compile.
        Only where large convolutions have few steps, `left` in all, is it the graph without a look at XLA, which takes
        as long to compile as the graph to train, and as long for a step as the graph for dozens.
        """
        key = _shapes(chunk)
        if key in self.choices:
            return self.choices[key]
        if _has_strings(chunk):  # with which XLA would abort the process
            self.choices[key] = "graph"
            return "graph"
        copies, _ = self.copy()
        try:
            graph = [self._seconds(chunk, 1, "graph") for _ in range(2)][-1]  # the first with the compiling
            if self._has_convolutions and graph > _LONG and left < _FEW:
                return "graph"
            self._seconds(chunk, 1, "xla")
            few, times = 1, self._times(chunk, 1)
            # A call has a cost beside its steps, as XLA copies all weights: more steps, until it is small.
            while few < steps and times.max() < _CLEAR * times.min() and times.min() < _MEASURED_SECONDS:
                few = min(4 * few, steps)
                times = np.minimum(self._times(chunk, few), self._times(chunk, few))
            self.choices[key] = _COMPILES[times.argmin()]
        except tf.errors.OpError:  # XLA does not know every operation
            self.choices[key] = "graph"
        finally:
            self.restore(copies)
        return self.choices[key]

    def compiles(self, mode, chunk):
        """Whether XLA knows every operation of a step."""
        key = mode, _shapes(chunk)
        if key not in self._compilable:
            try:
                self.run(mode, chunk, 0, "xla")
                self._compilable[key] = True
            except tf.errors.OpError:
                self._compilable[key] = False
        return self._compilable[key]

    def num_traces(self):
        """How often a step or a loop was traced so far."""
        return sum(f.experimental_get_tracing_count() for f in [*self._steps.values(), *self._loops.values()])

    def _loop(self, mode):
        step = self._steps[mode]

        def run(chunk, steps):
            specs = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape[1:], t.dtype), chunk)
            outputs = step.get_concrete_function(specs).structured_outputs
            logs = tf.nest.map_structure(lambda t: tf.zeros(t.shape, t.dtype), outputs)
            i = tf.constant(0)
            while i < steps:  # XLA would compile `tf.range(steps)` anew for each number of steps
                logs = step(tf.nest.map_structure(lambda t, i=i: t[i], chunk))
                i += 1
            return logs, self._snapshot() if mode == "train" else None

        return run

    def _times(self, chunk, steps):
        return np.array([self._seconds(chunk, steps, compile) for compile in _COMPILES])

    def _seconds(self, chunk, steps, compile):
        """The seconds that so many training steps take."""
        start = time.perf_counter()
        logs, _ = self.run("train", chunk, steps, compile)
        tf.nest.map_structure(lambda t: t.numpy(), logs)
        return time.perf_counter() - start


def _has_convolutions(graph):
    nodes = [graph.node, *(function.node_def for function in graph.library.function)]
    return any("Conv" in node.op for node in itertools.chain(*nodes))


def _has_strings(chunk):
    return any(t.dtype == tf.string for t in tf.nest.flatten(chunk))


def _as_keras(data):
    """Inputs alone are not in a tuple of one, for a step of the user's own."""
    return data[0] if len(data) == 1 and not isinstance(data[0], (list, tuple)) else data


def _specs(batch):
    return tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), batch)


def _shapes(chunk):
    return tuple((tuple(t.shape), t.dtype) for t in tf.nest.flatten(chunk))
