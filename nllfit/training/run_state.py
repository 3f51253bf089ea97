"""`Run`, the state of one call of `fit`. A run trains a model by calls of compiled programs (see `epoch_programs`)."""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.keras_models import trainable_flags, training_variables, variable_of
from nllfit.model_caches import LeastRecentlyUsed, kept_for, shared_by
from nllfit.training.architecture import architecture_of
from nllfit.training.batches import Arrays
from nllfit.training.chunk_layout import Layout
from nllfit.training.epoch_programs import Program, Stretch, epochs_per_call
from nllfit.training.failures import failed
from nllfit.training.graph_or_xla import Request
from nllfit.training.replicas import Replicas
from nllfit.training.streams import prefetched
from nllfit.training.tensorflow_memory import drop_kernels

__all__ = ["Run", "numbers"]

# The maximum number of cached programs for each model, and for each architecture.
_MAX_PROGRAMS = 8
# A call of `Run.stretch` trains one or several consecutive epochs, which are called a stretch. The states of the model
# after these epochs have the indices 0, 1, 2 and so on. The state before the stretch has the index -1.
_BEFORE_STRETCH = -1


class Run:
    """One call of `fit`: a model, its data, and the programs that it uses.

    Args:
      model: the compiled model.
      compile: `"auto"`, `"xla"` or `"graph"`.
      train, validation: `Arrays` or a `Stream`, or None for no validation.
      epochs: the number of epochs to train.
      repeatable: whether the choice between graph and XLA must not depend on a clock.
    """

    def __init__(self, model: Model, compile: str, train: Any, validation: Any, epochs: int, repeatable: bool = False):
        self._model, self._compile, self._train, self._validation = model, compile, train, validation
        self._repeatable = repeatable
        self._in_lockstep = Replicas.of(model.distribute_strategy).on_machines
        self._steps_to_come = epochs * (train.steps or np.inf)
        self._capacity = epochs_per_call(model, train)
        self._held_out: tuple = ()
        is_small = isinstance(validation, Arrays) and validation.is_small and not self._in_lockstep
        if train.have_same_layout and is_small and validation.steps <= 4 * train.steps:
            self._held_out = validation.stacks()
        is_new = not len(_programs_of(model))
        adapter_of(model).build_replicas(train.first)
        self._program = self.program("train", train.layout(self._capacity, self._held_out))
        self._variables = training_variables(model)  # read after the program was traced, which creates some variables
        if is_new:
            drop_kernels(len(self._variables))
        self._changed = self._program.changed(self._variables)
        self._trains_one_by_one = self._tests_in_graph = False
        self._before: list[tf.Tensor] = []
        self._states: list[np.ndarray] = []
        self._restored_epoch: int | None = _BEFORE_STRETCH  # the index of the epoch whose state the model has, or None
        self._selected_epoch = _BEFORE_STRETCH  # the index of the epoch whose state `restore_epoch` restores

    @property
    def draws(self) -> bool:
        """Whether a step draws random numbers from a state that is not in a variable."""
        return self._program.draws

    @property
    def variables(self) -> list[tf.Variable]:
        """All variables that a step reads or changes, including those with the state of random generators."""
        return list({id(v): v for v in [*self._variables, *self._changed]}.values())

    def program(self, mode: str, layout: Layout) -> Program:
        """Returns the program for a layout.

        Models of the same architecture share their programs. A new program is built if none of these models has one for
        this layout.
        """
        if layout.has_strings and self._compile == "xla":
            raise ValueError('The data hold strings, which XLA does not take: fit with `compile="graph"` or `"auto"`.')
        model_programs = _programs_of(self._model)
        key = mode, trainable_flags(self._model), layout.key
        if cached := model_programs.get(key):
            return cached
        first = self._train.first
        architecture = architecture_of(self._model, first[1] if len(first) > 1 else None)
        shared = model_programs if architecture is None else shared_by(("programs", architecture), _new_programs)
        with shared.lock:  # another thread may be tracing the same program for another model
            program = shared.get(key) or Program(self._model, mode, layout, architecture is not None)
            if program.is_shared:
                shared.put(key, program)
        model_programs.put(key, program)
        return program

    def select_epoch(self, epoch: int) -> None:
        """Selects an epoch of the last call of `stretch`. `restore_epoch` then restores the state after this epoch.

        Until an epoch is selected, `restore_epoch` restores the state before that call.
        """
        self._selected_epoch = epoch

    def restore_epoch(self) -> None:
        """Restores the model to the state that `select_epoch` selected, unless the model already has it."""
        if self._restored_epoch != self._selected_epoch:
            values = (
                self._before
                if self._selected_epoch == _BEFORE_STRETCH
                else [state[self._selected_epoch] for state in self._states]
            )
            for variable, value in zip(self._changed, values, strict=True):
                tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)
            self._restored_epoch = self._selected_epoch

    def weights(self) -> list[np.ndarray]:
        """Returns the weights that `model.get_weights()` would return after `restore_epoch`.

        Usually this takes only a tenth of the time of those two calls.
        """
        states = dict(zip(map(id, self._changed), self._states, strict=False))  # `_states` is empty at first
        weight_states = [states.get(id(variable_of(w))) if hasattr(w, "dtype") else None for w in self._model.weights]
        # Frozen weights, mirrored weights and lookup tables have no recorded state. If the model has one of these, we
        # restore the model and read its weights.
        recorded = [state for state in weight_states if state is not None]
        if self._selected_epoch in (self._restored_epoch, _BEFORE_STRETCH) or len(recorded) < len(weight_states):
            self.restore_epoch()
            return self._model.get_weights()
        return [state[self._selected_epoch].copy() for state in recorded]

    def stretch(
        self,
        epoch: int,
        evaluates: list[bool],
        are_read: bool,
        bars: Iterable = (),
        begin_test: Callable[[], None] | None = None,
    ) -> Stretch:
        """Trains one or several epochs: as many as one call may train, but at most `len(evaluates)`.

        After an error, `restore_epoch` restores the state before the stretch. But if `begin_test` raised the error,
        `restore_epoch` restores the state after the epoch that was to be evaluated.

        Args:
          epoch: the first epoch.
          evaluates: for each epoch, whether an evaluation follows it.
          are_read: whether callbacks read the model after each epoch.
          bars: the progress bars to update within an epoch.
          begin_test: None; or, if there is only one epoch, a function to call before its evaluation.

        Raises:
          FloatingPointError, ValueError: if an operation fails. The message names the epoch.
        """
        self._before = [tf.raw_ops.ReadVariableOp(resource=v.handle, dtype=v.dtype) for v in self._changed]
        while True:
            self._restored_epoch, self._selected_epoch = None, _BEFORE_STRETCH
            count = self._num_epochs(epoch, evaluates, are_read)
            try:
                stretch = self._trained(epoch, evaluates[:count], bars if count == 1 else (), begin_test is None)
                self._states, self._restored_epoch = stretch.states, stretch.epochs - 1
                if evaluates[0] and (begin_test or not self._held_out) and stretch.finite:
                    if begin_test:
                        # If `begin_test` raises an error, the model keeps the state that it has at the end of the
                        # epoch, as in Keras.
                        self._selected_epoch = self._restored_epoch
                        begin_test()
                        self._selected_epoch = _BEFORE_STRETCH
                    return stretch._replace(scores=self._scores(epoch))
                return stretch
            except tf.errors.InvalidArgumentError as error:
                tests_in_xla = self._compile == "xla" and bool(self._held_out)
                if count == 1 and not tests_in_xla:
                    raise failed(self._model, epoch, error) from error
                self.restore_epoch()
                self._trains_one_by_one = True  # one epoch per call, to find the epoch with the error
                if tests_in_xla:  # XLA may not support every operation of a `test_step`
                    self._held_out, self._tests_in_graph = (), True

    def _trained(self, epoch, evaluates, bars, tests=True):
        """Trains consecutive epochs, one for each of `evaluates`.

        If `tests` is true, the program also evaluates the model on held-out batches, after each epoch for which
        `evaluates` is true.
        """
        if self._train.have_same_layout:
            flags = np.resize(np.array(evaluates), self._capacity) & tests
            chunk = self._train.chunk(epoch, len(evaluates), self._capacity)
            chunks = iter([dataclasses.replace(chunk, held_out=self._held_out, evaluates=flags)])
        else:
            chunks = prefetched(self._train.chunks(epoch))
        done, seconds = 0, 0.0
        for steps, stretch in itertools.chain.from_iterable(self._calls("train", epoch, chunk) for chunk in chunks):
            done, seconds = done + steps, seconds + stretch.seconds
            for bar in bars if done != self._train.steps else ():
                bar.on_train_batch_end(done - 1, numbers(stretch.logs, 0))
            if not stretch.finite:
                break
        return stretch._replace(seconds=seconds)

    def _num_epochs(self, epoch, evaluates, are_read):
        needs_separate_calls = not self._train.have_same_layout or (any(evaluates) and not self._held_out)
        if self._trains_one_by_one or self._in_lockstep or needs_separate_calls or (are_read and self._program.draws):
            return 1
        max_steps = self._program.next_call(self._request("train", epoch)).max_steps
        steps = self._train.steps + sum(size for _, size in self._held_out)
        return max(1, min(max_steps // steps, self._capacity, len(evaluates)))

    def _scores(self, epoch):
        """Evaluates the model in a separate program and returns the logs."""
        chunks = prefetched(self._validation.chunks(epoch))
        calls = itertools.chain.from_iterable(self._calls("test", epoch, chunk) for chunk in chunks)
        ((_, stretch),) = collections.deque(calls, maxlen=1)
        return stretch.logs

    def _calls(self, mode, epoch, chunk):
        """Runs a chunk, in several calls if it is long. Yields the number of steps and the `Stretch` of each call."""
        program, request = self.program(mode, chunk.layout()), self._request(mode, epoch)
        first, end = chunk.bounds.first, chunk.bounds.last
        while True:
            call = program.prepared_call(request, chunk)
            fits = chunk.bounds.epochs > 1 or chunk.evaluated_epoch_steps <= call.max_steps
            last = end if fits else min(end, first + call.max_steps)
            part = chunk.part(first, last)
            stretch = program.run(part, self._variables, call.executor)
            if mode == "train":
                self._steps_to_come -= part.training_steps
            yield part.num_steps, stretch
            if part.bounds.ends or (mode == "train" and not stretch.finite):
                return
            first = last

    def _request(self, mode, epoch):
        return Request(
            compile="graph" if mode == "test" and self._tests_in_graph else self._compile,
            steps_to_come=self._steps_to_come,
            repeatable=self._repeatable,
            steps_before=None if self._train.steps is None else epoch * self._train.steps,
            epoch_steps=self._train.steps,
            in_lockstep=self._in_lockstep,
        )


def _new_programs():
    return LeastRecentlyUsed(_MAX_PROGRAMS)


def _programs_of(model):
    """Returns the cache of a model's programs, by mode and layout."""
    return kept_for("programs", _new_programs, model)


def numbers(logs: Any, epoch: int) -> dict:
    """Returns the logs of one epoch as a dict of numbers."""
    result: dict = {}
    for name, values in logs.items():
        if isinstance(values, dict):  # a metric with several numbers
            result |= numbers(values, epoch)
        else:
            result[name] = values[epoch].item() if values.ndim == 1 else values[epoch]
    return result
