"""Programs: a stretch of epochs of a model's training as one compiled call.

The loops over epochs and over steps leave Python, and with XLA also TensorFlow's executor: what remains of a step is
its arithmetic. A program is traced once and reads its variables from handles that each call gives it, so that every
model of one architecture goes through it with variables of its own.
"""

import dataclasses
import itertools
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from nllfit.kerases import Model, parts_of, training_variables, variable_of
from nllfit.training.loops import loops, one_step, split
from nllfit.training.work import Work

__all__ = ["Program", "Stretch"]

_WORTH = 0.1  # seconds of the graph's work from which on XLA is worth its compiling
_SMALL = 2e-4  # seconds of a small network's step in the graph, until they are measured
_LONG = 0.002  # seconds of the graph's step from which on XLA's convolutions are seldom the faster ones,
_FEW = 1000  # and steps for which it is not worth some seconds to find out
_TRIALS = 2  # calls in which XLA has to show that it is faster, seldom one more: a busy machine may have hidden it
_COMPILING = "compiling"


class Stretch(NamedTuple):
    """What a call did.

    Attributes:
      logs: of each epoch, a structure of arrays `[capacity, ...]`; of one that is not done, those so far.
      scores: the same of the evaluations.
      states: after each epoch, arrays `[capacity, ...]` of the variables that training changes.
      epochs: how many were begun.
      finite: whether the last one left a finite loss and weights.
    """

    logs: Any
    scores: Any
    states: list[np.ndarray]
    epochs: int
    finite: bool


class Program:
    """`train_step`, or `test_step`, of a model in loops, for work of one shape.

    Args:
      model: to trace.
      mode: `"train"` or `"test"`.
      work: an example.
      is_known: whether models of the same architecture can be told.

    Attributes:
      draws: whether it draws random numbers from a state that is in no variable.
      is_shared: whether it does not, and all that it reads are variables that each model of the architecture has.
      operations: the kinds of operation in a step.
      compiling: the thread in which XLA compiles it, or did.
      seconds: of a step at best, by how it was compiled.
      calls: how often it was called so.
    """

    def __init__(self, model: Model, mode: str, work: Work, is_known: bool):
        owner = weakref.proxy(model)  # a program may outlive the model, so it must not keep it alive
        steps = {name: tf.function(one_step(owner, name)) for name in {mode, "test"}}
        traced = steps[mode].get_concrete_function(work.batch_specs())  # it makes the variables that do not exist yet
        self.operations = _operations(traced.graph.as_graph_def())
        self._metrics = {id(part) for metric in model.metrics for v in metric.variables for part in parts_of(model, v)}
        changed = [v for v in traced.variables if id(v) not in self._metrics] if mode == "train" else []
        self._states = [tf.TensorSpec(v.shape, v.dtype) for v in changed]
        weights = [w for w in map(variable_of, model.trainable_variables) if w.dtype.is_floating]
        loop = tf.function(
            loops(owner, steps, mode, work, changed, weights if mode == "train" else []), autograph=False
        )
        self._specs, self._work = work.specs(), dataclasses.replace(work, epochs=0)
        self._has_strings = work.has_strings
        self._graph = loop.get_concrete_function(*self._specs)
        inside = self._graph
        if model.distribute_strategy.num_replicas_in_sync == 1:  # XLA has no sums over replicas
            compiled = tf.function(lambda *args: inside(*args), jit_compile=True, autograph=False)
            self._xla = compiled.get_concrete_function(*self._specs)
            order = {id(handle): place for place, handle in enumerate(inside.captured_inputs)}
            self._xla_order = [order[id(handle)] for handle in self._xla.captured_inputs]
        variables = {id(v.handle): v for v in [*training_variables(model), *traced.variables]}
        places = {handle: place for place, handle in enumerate(id(v.handle) for v in training_variables(model))}
        captured = [id(handle) for handle in self._graph.captured_inputs]
        self.draws = any("Random" in name and not name.startswith("Stateless") for name in self.operations)
        self.is_shared = is_known and not self.draws and all(handle in places for handle in captured)
        self._places = [places.get(handle) for handle in captured]
        self._own = [variables.get(handle) for handle in captured]  # of the model it was traced for
        self._changed = [places.get(id(v.handle)) for v in changed] if self.is_shared else changed
        if self.is_shared:
            self._own = [None if v is None else tf.TensorSpec(v.shape, v.dtype) for v in self._own]
        self.seconds: dict[str, float] = {}
        self.calls = {"graph": 0, "xla": 0}
        self._spent = 0.0  # seconds in the graph
        self.compiling: threading.Thread | None = None
        self._ready: bool | str | None = None  # whether XLA has compiled it; None where it was not asked to

    def changed(self, variables: Sequence[tf.Variable]) -> list[tf.Variable]:
        """Those of a model's `training_variables` that training changes, but for metrics."""
        return [variables[place] for place in self._changed] if self.is_shared else self._changed

    def run(self, work: Work, variables: Sequence[tf.Variable], compile: str) -> Stretch:
        """Does the work with the variables of a model."""
        if self.is_shared:
            captured = [variables[place].handle for place in self._places]
        else:
            captured = self._graph.captured_inputs
        start = time.perf_counter()
        logs, scores, states, epochs, finite = self._call(work.tensors(), captured, compile)
        stretch = Stretch(
            tf.nest.map_structure(np.asarray, logs),
            tf.nest.map_structure(np.asarray, scores),
            split([state.numpy() for state in states], self._states),
            int(epochs),
            bool(finite),
        )
        seconds = time.perf_counter() - start
        if self.calls[compile]:  # in the first one it is made ready, too
            self._spent += seconds if compile == "graph" else 0.0
            self.seconds[compile] = min(seconds / max(1, work.num_steps), self.seconds.get(compile, np.inf))
        self.calls[compile] += 1
        return stretch

    def _call(self, tensors, captured, compile):
        if compile == "graph":
            return self._graph._call_flat(tensors, list(captured))
        return self._xla._call_flat(tensors, [captured[place] for place in self._xla_order])

    def way(self, compile: str, left: float) -> str:
        """`"xla"` or `"graph"`: which is to do the next call, of `left` steps to come.

        `"auto"` trains in the graph until XLA has compiled in another thread, and then in whichever is faster: on a
        CPU, XLA's convolutions are up to 50 times slower than the graph's and its small embeddings twice as slow; but
        its tiny convolutions are 4 times faster, and a dense network's steps 5 times. Random numbers are other ones
        under XLA, so that with them it is the graph from first to last, and a seeded run can be repeated.
        """
        if self._has_strings:
            if compile == "xla":
                raise ValueError(
                    'The data hold strings, which XLA does not take: fit with `compile="graph"` or `"auto"`.'
                )
            return "graph"
        if compile != "auto" or any("Random" in name for name in self.operations) or self._ready is False:
            return "graph" if compile == "auto" else compile
        if self._ready is True:
            trials = _TRIALS + self.calls["graph"].bit_length() // 4
            slower = self.calls["xla"] > trials and self.seconds["xla"] > self.seconds["graph"]
            return "graph" if slower else "xla"
        if self._ready is None and self._is_worth_compiling(left):
            self._ready = _COMPILING
            self.compiling = threading.Thread(target=self._compile, name="nllfit-xla")
            self.compiling.start()
        return "graph"

    def _is_worth_compiling(self, left):
        seconds = self.seconds.get("graph", 0.0 if "Conv2D" in self.operations else _SMALL)
        if "Conv2D" in self.operations and seconds > _LONG and left < _FEW:
            return False
        return self._spent + left * seconds > _WORTH

    def _compile(self):
        try:
            self.compile()
            self._ready = True
        except tf.errors.OpError:  # XLA does not know every operation
            self._ready = False

    def compile(self) -> None:
        """Lets XLA compile the program, on variables of its own and for no epoch, so that no model is touched."""
        twins = [
            handle if v is None else tf.Variable(tf.zeros(v.shape, v.dtype), trainable=False).handle
            for v, handle in zip(self._own, self._graph.captured_inputs, strict=True)
        ]
        self._call(self._work.tensors(), twins, "xla")


def _operations(graph):
    """The kinds of operation in a graph and in the functions it calls."""
    nodes = [graph.node, *(function.node_def for function in graph.library.function)]
    return {node.op for node in itertools.chain(*nodes)}
