"""Runs: a model in training, the programs that it goes through, and which way they are compiled."""

import collections
import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.data import num_rows
from nllfit.kerases import Model, build_replicas, training_variables, variable_of
from nllfit.training.architecture import architecture_of, kept_for, shared_by
from nllfit.training.batches import Arrays
from nllfit.training.files import whole_file
from nllfit.training.kernels import drop_kernels
from nllfit.training.programs import Program, Stretch
from nllfit.training.replicas import Replicas
from nllfit.training.streams import prefetched
from nllfit.training.work import Work

__all__ = ["Programs", "Run", "Watched", "numbers"]

_SECONDS = 0.25  # of a call at most, so that Ctrl-C and the progress bar need not wait
_BYTES = 2**22  # of all states and orders of a call's epochs
_FIRST_STEPS = 4  # of a program whose speed is not known
_STEPS_IN_STEP = 32  # of a call on several machines, whose clocks differ
_TRIAL_SECONDS = 0.015  # of the graph, for which XLA has to show that it is faster


class Programs:
    """The programs of an architecture or of a model, the last used of them, by what they are for."""

    MOST = 8

    def __init__(self, model: Model | None = None):
        self.lock = threading.RLock()
        self.kept: collections.OrderedDict[Any, Program] = collections.OrderedDict()

    def get(self, key: Any) -> Program | None:
        """The program, which is now the last used."""
        with self.lock:
            if key in self.kept:
                self.kept.move_to_end(key)
            return self.kept.get(key)

    def put(self, key: Any, program: Program) -> None:
        """Keeps a program, and forgets the one that was not used for longest."""
        with self.lock:
            self.kept[key] = program
            self.kept.move_to_end(key)
            while len(self.kept) > self.MOST:
                self.kept.popitem(last=False)


class Watched:
    """A model for callbacks that only read it: before they do, `look` is called, unless they want its weights alone.

    What they save is a whole file at any moment.
    """

    def __init__(self, model: Model, look: Callable[[], None], weights: Callable[[], list[np.ndarray]]):
        vars(self).update(_model=model, _look=look, get_weights=weights)

    def __getattr__(self, name):
        if name != "stop_training":
            self._look()
        return getattr(self._model, name)

    def __setattr__(self, name, value):
        if vars(self._model).get(name) is not value:  # `History` sets itself each epoch, at the cost of two steps
            setattr(self._model, name, value)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Saves the model."""
        self._look()
        with whole_file(filepath) as path:
            self._model.save(path, *args, **kwargs)

    def save_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Saves its weights."""
        self._look()
        with whole_file(filepath) as path:
            self._model.save_weights(path, *args, **kwargs)


class Run:
    """One call of `fit`: a model, its data, and the programs that it goes through.

    Args:
      model: compiled.
      compile: `"auto"`, `"xla"` or `"graph"`.
      train, validation: `Arrays` or a `Stream`, or None for no validation.
      epochs: to come.
    """

    MOST_EPOCHS = 64  # of a call

    def __init__(self, model: Model, compile: str, train: Any, validation: Any, epochs: int):
        self._model, self._compile, self._train, self._validation = model, compile, train, validation
        self._in_step = Replicas.of(model.distribute_strategy).on_machines
        self._left = epochs * (train.steps or np.inf)
        self._capacity = _capacity(model, train)
        self._held_out = ()
        small = isinstance(validation, Arrays) and validation.is_small and not self._in_step
        if train.are_alike and small and validation.steps <= 4 * train.steps:
            self._held_out = validation.stacks()
        is_new = not kept_for(model, Programs).kept
        build_replicas(model, train.first)
        self._program = self.program("train", train.example(self._capacity, self._held_out))
        self._variables = training_variables(model)  # of which the first program makes some
        if is_new:
            drop_kernels(len(self._variables))
        self._changed = self._program.changed(self._variables)
        self._one_by_one = self._tests_in_graph = False
        self._kept: list[tf.Tensor] = []
        self._states: list[np.ndarray] = []
        self._is_at = self._shown = 0  # epochs of the last stretch

    @property
    def draws(self) -> bool:
        """Whether a step draws random numbers from a state that is in no variable."""
        return self._program.draws

    @property
    def variables(self) -> list[tf.Variable]:
        """All that a step reads or changes, the state of random generators included, where it is in variables."""
        return list({id(v): v for v in [*self._variables, *self._changed]}.values())

    def program(self, mode: str, work: Work) -> Program:
        """The program for such work: the one that the model went through before, another's or, at last, a new one."""
        own = kept_for(self._model, Programs)
        key = mode, tuple(layer.trainable for layer in self._model._flatten_layers()), work.key()
        if found := own.get(key):
            return found
        first = self._train.first
        architecture = architecture_of(self._model, first[1] if len(first) > 1 else None)
        shared = own if architecture is None else shared_by(architecture, Programs)
        with shared.lock:  # another thread may be tracing it for a model of its own
            program = shared.get(key) or Program(self._model, mode, work, architecture is not None)
            if program.is_shared:
                shared.put(key, program)
        own.put(key, program)
        return program

    def undo(self) -> None:
        """Makes the model what it was before the last stretch."""
        self._restore(self._kept)

    def show(self, epoch: int) -> None:
        """Lets the model be, to whom `look`s, what it was after an epoch of the last stretch."""
        self._shown = epoch

    def look(self) -> None:
        """Makes the model what it is shown to be, if it is not."""
        if self._is_at != self._shown:
            self._restore([state[self._shown] for state in self._states])
            self._is_at = self._shown

    def weights(self) -> list[np.ndarray]:
        """What `model.get_weights()` would give of the model as it is shown to be, at a tenth of the cost."""
        states = dict(zip(map(id, self._changed), self._states, strict=False))
        found = [states.get(id(variable_of(w))) if hasattr(w, "dtype") else None for w in self._model.weights]
        if self._is_at == self._shown or any(state is None for state in found):  # a frozen, mirrored one, or a table
            self.look()
            return self._model.get_weights()
        return [state[self._shown].copy() for state in found]

    def _restore(self, values):
        for variable, value in zip(self._changed, values, strict=True):
            tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)

    def stretch(self, epoch: int, evaluates: list[bool], are_read: bool, bars: Iterable = ()) -> Stretch:
        """The next epochs, as many as one call may do, of at most as many as `evaluates` says whether to evaluate.

        Args:
          epoch: the first.
          evaluates: of each, whether an evaluation follows it.
          are_read: whether somebody looks at the model after each of them.
          bars: to be moved within an epoch.
        """
        self._kept = [tf.raw_ops.ReadVariableOp(resource=v.handle, dtype=v.dtype) for v in self._changed]
        count = self._most_epochs(evaluates, are_read)
        if self._train.are_alike:
            flags = np.resize(np.array(evaluates[:count]), self._capacity)
            work = self._train.work(epoch, count, self._capacity)
            works = iter([dataclasses.replace(work, held_out=self._held_out, evaluates=flags)])
        else:
            works = prefetched(self._train.works(epoch))
        done = 0
        try:
            for steps, stretch in itertools.chain.from_iterable(self._parts("train", work) for work in works):
                done += steps
                for bar in bars if count == 1 and done != self._train.steps else ():
                    bar.on_train_batch_end(done - 1, numbers(stretch.logs, 0))
                if not stretch.finite:
                    break
        except tf.errors.InvalidArgumentError:
            self.undo()
            if self._compile == "xla" and self._held_out:  # XLA may not know every operation of a `test_step`
                self._held_out, self._tests_in_graph = (), True
            elif count == 1:
                raise
            self._one_by_one = True  # to find the epoch in which it was
            return self.stretch(epoch, evaluates[:1], are_read, bars)
        self._states, self._is_at, self._shown = stretch.states, stretch.epochs - 1, stretch.epochs - 1
        if evaluates[0] and not self._held_out and stretch.finite:
            return stretch._replace(scores=self._scores(epoch))
        return stretch

    def _most_epochs(self, evaluates, are_read):
        apart = not self._train.are_alike or (any(evaluates) and not self._held_out)
        if self._one_by_one or self._in_step or apart or (are_read and self._program.draws):
            return 1
        steps = self._train.steps + sum(size for _, size in self._held_out)
        most = self._most_steps(self._program, self._way(self._program)) // steps
        return max(1, min(most, self._capacity, len(evaluates)))

    def _scores(self, epoch):
        """What an evaluation apart from training gives."""
        for work in prefetched(self._validation.works(epoch)):
            for _, stretch in self._parts("test", work):
                scores = stretch.logs
        return scores

    def _parts(self, mode, work):
        """Does the work, in several calls where it is long; yields the steps that each did, and what."""
        program, first = self.program(mode, work), work.first
        while True:
            way = "graph" if mode == "test" and self._tests_in_graph else self._way(program)
            most = self._most_steps(program, way)
            last = work.last if work.epochs > 1 or work.steps <= most else min(work.last, first + most)
            part = work.part(first, last)
            stretch = program.run(part, self._variables, way)
            self._left -= part.num_steps
            yield part.num_steps, stretch
            if part.ends or not stretch.finite:
                return
            first = last

    def _way(self, program):
        return program.way(self._compile, self._left)

    def _most_steps(self, program, way):
        """The steps of one call, by what is known of their speed."""
        if self._in_step:
            return _STEPS_IN_STEP
        if way in program.seconds:
            return max(1, int(_SECONDS / program.seconds[way]))
        if way == "xla" and "graph" in program.seconds:
            return max(_FIRST_STEPS, int(_TRIAL_SECONDS / program.seconds["graph"]))
        return _FIRST_STEPS


def numbers(logs: Any, epoch: int) -> dict:
    """The logs of one epoch as numbers by name."""
    found = {}
    for name, values in logs.items():
        if isinstance(values, dict):  # a metric of several numbers
            found |= numbers(values, epoch)
        else:
            found[name] = values[epoch].item() if values.ndim == 1 else values[epoch]
    return found


def _capacity(model, train):
    """How many epochs' states and orders one call may hold, a power of two."""
    if not train.are_alike:
        return 1
    weights = [variable_of(w) for w in model.variables if hasattr(w, "dtype")]
    # Adam has twice as many of its own, which a fresh model's may not have made.
    size = max(4 * num_rows(train.data), 3 * sum(w.dtype.size * w.shape.num_elements() for w in weights))
    return 1 << max(0, min(Run.MOST_EPOCHS, _BYTES // max(1, size)).bit_length() - 1)
