"""Programs: compiled functions that train a model for several epochs in one call.

The loops over epochs and steps run outside Python, and with XLA also outside TensorFlow's executor, so a step costs
little more than its arithmetic. A program is traced once. It stores shapes and dtypes, but no data, and each call
passes handles of variables to it. So all models of one architecture can use the program with their own variables.
"""

import dataclasses
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model
from nllfit.adapters.keras_models import parts_of, training_variables, variable_of, variables_of
from nllfit.adapters.tensorflow import call_with_captures, operations_of, trace
from nllfit.data_checks import num_bytes, num_rows
from nllfit.training.chunk_layout import Bounds, Chunk, Layout
from nllfit.training.graph_or_xla import Call, Request, Timings, draws_outside_variables, next_call
from nllfit.training.traced_steps import TracedEpochs, one_step, split

__all__ = ["MOST_EPOCHS", "Program", "Stretch", "epochs_per_call"]

# The maximum number of epochs in one call of a program.
MOST_EPOCHS = 64
# A call that trains several epochs stores the values of the trained variables after each epoch. The values of all
# epochs together take at most this number of bytes. The call also stores the indices of the rows in the order in which
# each epoch reads them. The same limit applies to these indices.
_MAX_CALL_BYTES = 2**22


def epochs_per_call(model: Model, train: Any) -> int:
    """Returns the maximum number of epochs in a call, a power of two.

    The number is limited, because a call stores the values of the trained variables and the indices of the rows for
    each epoch (see `_MAX_CALL_BYTES`).

    Args:
      model: the model to train.
      train: the data, `Arrays` or a `Stream`.
    """
    if not train.have_same_layout:
        return 1
    # The index of a row takes 4 bytes. The variables take up to three times the memory of the weights, because Adam has
    # two slots for each weight. The slots may not exist yet, so we multiply the size of the weights by 3.
    size = max(4 * num_rows(train.data), 3 * num_bytes(variables_of(model)))
    return 1 << max(0, min(MOST_EPOCHS, _MAX_CALL_BYTES // max(1, size)).bit_length() - 1)


class Stretch(NamedTuple):
    """The results of the epochs that one call trained.

    Attributes:
      logs: the logs of each epoch, a structure of arrays `[capacity, ...]`, where `capacity` is the maximum number of
        epochs in a call. An unfinished epoch has the logs so far.
      scores: the logs of the evaluation after each epoch, in the same form.
      states: for each variable that training changes, its values after each epoch, `[capacity, ...]`.
      epochs: the number of epochs that were started. The call ends after an epoch that is not `finite`.
      finite: whether the loss and the weights were finite after the last epoch.
      seconds: the duration of the call.
    """

    logs: Any
    scores: Any
    states: list[np.ndarray]
    epochs: int
    finite: bool
    seconds: float


class Program:
    """A compiled program that calls the `train_step` or `test_step` of a model in a loop, for chunks of one layout.

    Args:
      model: the model to trace.
      mode: `"train"` or `"test"`.
      layout: the layout of the chunks.
      is_known: whether the architecture of the model has a key (`architecture_of`).

    Attributes:
      draws: whether a step draws random numbers from a state that is not in a variable.
      is_shared: whether other models of the architecture may use the program. They may if `is_known` is true, `draws`
        is false, and all variables that the program uses are `training_variables`.
      operations: the types of operations in a step.
      timings: the timings of the calls.
      compiling: the thread in which XLA compiles or compiled the program, or None.
    """

    def __init__(self, model: Model, mode: str, layout: Layout, is_known: bool):
        owner = weakref.proxy(model)  # a proxy, because a program may outlive the model
        steps = {name: tf.function(one_step(owner, name)) for name in {mode, "test"}}
        traced = trace(steps[mode], layout.batch)  # the trace creates the variables that do not exist yet
        metrics = {id(part) for metric in model.metrics for v in metric.variables for part in parts_of(model, v)}
        changed = [v for v in traced.variables if id(v) not in metrics] if mode == "train" else []
        weights = [w for w in map(variable_of, model.trainable_variables) if w.dtype.is_floating]
        loop = TracedEpochs(owner, mode, steps, layout, changed, weights if mode == "train" else [])
        self._graph = trace(tf.function(loop, autograph=False), *layout.specs)
        self._states = [tf.TensorSpec(v.shape, v.dtype) for v in changed]
        self.operations = operations_of(traced)
        self.draws = draws_outside_variables(self.operations)

        model_variables = training_variables(model)
        index_of_handle = {id(v.handle): index for index, v in enumerate(model_variables)}
        captured = [id(handle) for handle in self._graph.captured_inputs]
        self._captured_indices = [index_of_handle[handle] for handle in captured if handle in index_of_handle]
        self.is_shared = is_known and not self.draws and len(self._captured_indices) == len(captured)
        self._changed = [index_of_handle[id(v.handle)] for v in changed] if self.is_shared else changed
        specs = {id(v.handle): tf.TensorSpec(v.shape, v.dtype) for v in [*model_variables, *traced.variables]}
        self._captured_specs = [specs.get(handle) for handle in captured]

        # XLA does not support sums over replicas.
        has_several_replicas = model.distribute_strategy.num_replicas_in_sync > 1
        self._xla, self._xla_order = (None, []) if has_several_replicas else _xla_function_of(self._graph, layout)
        self._lock = threading.Lock()
        self.timings = Timings(xla="impossible" if has_several_replicas or layout.has_strings else "not compiled")
        self.compiling: threading.Thread | None = None

    def changed(self, variables: Sequence[tf.Variable]) -> list[tf.Variable]:
        """Returns the variables that a step changes, except metrics. `variables` are a model's `training_variables`."""
        return [variables[index] for index in self._changed] if self.is_shared else self._changed

    def next_call(self, request: Request) -> Call:
        """Chooses the next call from the timings so far: in the graph or in XLA, and with how many steps at most."""
        with self._lock:
            return next_call(request, self.operations, self.timings)

    def prepared_call(self, request: Request, chunk: Chunk) -> Call:
        """Returns the next call for a chunk. Starts XLA's compilation if the call needs it (`Call.compiles`).

        If the call must wait for the compilation (`Call.waits`), this method waits until the compilation ends. Then it
        chooses a call again, and returns this call.
        """
        with self._lock:
            call = next_call(request, self.operations, self.timings)
            if call.compiles and self.timings.xla == "not compiled":
                self._set_xla("compiling")
                self.compiling = threading.Thread(target=self._compile, args=(chunk.tensors(),), name="nllfit-xla")
                self.compiling.start()
        if call.waits and self.compiling:
            self.compiling.join()
            return self.prepared_call(request, chunk)
        return call

    def run(self, chunk: Chunk, variables: Sequence[tf.Variable], executor: str) -> Stretch:
        """Runs a chunk with the variables of a model, in the graph or in XLA."""
        if self.is_shared:
            captured = [variables[index].handle for index in self._captured_indices]
        else:
            captured = self._graph.captured_inputs
        start = time.perf_counter()
        logs, scores, states, epochs, finite = self._call(chunk.tensors(), captured, executor)
        logs, scores = (tf.nest.map_structure(np.asarray, structure) for structure in (logs, scores))
        states = split([state.numpy() for state in states], self._states)
        epochs, finite, seconds = int(epochs), bool(finite), time.perf_counter() - start
        with self._lock:
            self.timings = self.timings.after(executor, chunk.num_steps, seconds)
        return Stretch(logs, scores, states, epochs, finite, seconds)

    def _call(self, tensors, captured, executor):
        if executor == "graph":
            return call_with_captures(self._graph, tensors, captured)
        return call_with_captures(self._xla, tensors, [captured[index] for index in self._xla_order])

    def _set_xla(self, state):
        self.timings = dataclasses.replace(self.timings, xla=state)

    def _compile(self, tensors):
        """Makes XLA compile the program, by a call that trains 0 epochs.

        The call gets new variables instead of those of the model, because another thread may be training the model.
        """
        state = "impossible"
        try:
            tensors[0] = tf.convert_to_tensor(np.array(Bounds(epochs=0), np.int32))
            new_handles = [
                handle if spec is None else tf.Variable(tf.zeros(spec.shape, spec.dtype), trainable=False).handle
                for spec, handle in zip(self._captured_specs, self._graph.captured_inputs, strict=True)
            ]
            self._call(tensors, new_handles, "xla")
            state = "ready"
        except tf.errors.OpError:  # XLA does not support some operation
            pass
        finally:
            with self._lock:
                self._set_xla(state)


def _xla_function_of(graph, layout):
    """Wraps a graph in a concrete function, which XLA compiles at the first call.

    Returns:
      The concrete function.
      For each captured input of the concrete function, the index of this input among the captured inputs of the graph.
    """
    compiled = tf.function(lambda *args: graph(*args), jit_compile=True, autograph=False)
    xla = trace(compiled, *layout.specs)
    index_of_handle = {id(handle): index for index, handle in enumerate(graph.captured_inputs)}
    return xla, [index_of_handle[id(handle)] for handle in xla.captured_inputs]
