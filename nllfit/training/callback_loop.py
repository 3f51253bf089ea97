"""The loop that trains the epochs of a run and calls Keras's callbacks."""

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from nllfit.adapters import Model, adapter_of
from nllfit.training.backups import Backup
from nllfit.training.callback_checks import only_reads
from nllfit.training.epoch_programs import MOST_EPOCHS
from nllfit.training.failures import not_finite
from nllfit.training.model_for_callbacks import WatchedModel
from nllfit.training.run_state import Run, numbers

__all__ = ["CallbackLoop"]


class CallbackLoop:
    """Trains the epochs of a run and calls Keras's callbacks.

    One call of a program may train several epochs. Then this class calls the hooks of the callbacks, epoch by epoch.
    Callbacks that only read the model get a `WatchedModel`. It shows the weights after the epoch whose hooks are
    called. If a callback may change the model, or if there are backups, each call trains only one epoch. If a callback
    that may change the model defines `on_test_begin`, the `on_test_begin` of all callbacks is called before the model
    is evaluated. Otherwise it is called after the evaluation.

    Args:
      model: the model in training.
      run: the `Run` of the model.
      callbacks: the user's callbacks.
      params: the parameters of Keras's `CallbackList`: `verbose`, `epochs` and `steps`.
      evaluates: `evaluates(epoch)` returns whether the model is evaluated after that epoch.
      seed: the user's seed, or None.
    """

    def __init__(
        self,
        model: Model,
        run: Run,
        callbacks: Sequence,
        params: dict,
        evaluates: Callable[[int], bool],
        seed: int | None = None,
    ):
        self._model, self._run, self._evaluates, self._epochs = model, run, evaluates, params["epochs"]
        keras = adapter_of(model).keras.callbacks
        backup_callbacks = [c for c in callbacks if isinstance(c, keras.BackupAndRestore)]
        other_callbacks = [c for c in callbacks if c not in backup_callbacks]
        self._callbacks = keras.CallbackList(
            other_callbacks, add_history=True, add_progbar=params["verbose"] != 0, model=model, **params
        )
        self._bars = [c for c in self._callbacks.callbacks if isinstance(c, keras.ProgbarLogger)]
        histories = [c for c in self._callbacks.callbacks if isinstance(c, keras.History)]
        self._user_callbacks = [c for c in self._callbacks.callbacks if c not in self._bars + histories]
        self._readers = [*filter(only_reads, self._user_callbacks), *histories]
        may_change = [c for c in self._user_callbacks if not only_reads(c)]
        self._trains_one_by_one = bool(backup_callbacks or may_change)
        default_hook = keras.Callback.on_test_begin
        self._begins_tests_first = any(
            getattr(c.on_test_begin, "__func__", None) is not default_hook for c in may_change
        )
        self._backups = [Backup(b, model, run.variables, self._user_callbacks, seed) for b in backup_callbacks]
        if backup_callbacks and run.draws:
            warnings.warn(
                "A layer draws random numbers from a state that no backup can hold, so a resumed run will draw other "
                "numbers: call `tf_keras.backend.experimental.enable_tf_random_generator()` before you create the "
                "model.",
                stacklevel=3,
            )

    def train(self, initial_epoch: int) -> Any:
        """Trains up to the last epoch and returns Keras's `History`.

        After an error, the model has the state after the last epoch for which `on_epoch_end` was called. But if
        `on_test_begin` or `on_test_end` raised the error, the model has the state after the last training step of the
        epoch in which this hook was called. After success or an error, no callback refers to a `WatchedModel`.
        """
        model = self._model
        for callback in self._readers:
            callback.set_model(WatchedModel(model, self._run.restore_epoch, self._run.weights))
        model.stop_training = False
        try:
            self._callbacks.on_train_begin()
            epoch, logs = initial_epoch, None
            for backup in self._backups:
                epoch, logs = backup.begin(initial_epoch)
            if not self._continues(epoch) and logs:
                model.history.history = {name: [value] for name, value in logs.items()}
            while self._continues(epoch):
                epoch, logs = self._train_stretch(epoch)
        finally:
            self._run.restore_epoch()
            for callback in self._readers:
                callback.set_model(model)
        if self._epochs > 0 and hasattr(model.optimizer, "finalize_variable_values"):
            model.optimizer.finalize_variable_values(model.trainable_variables)
        self._callbacks.on_train_end(logs)
        for backup in self._backups:
            backup.end()
        return model.history

    def _continues(self, epoch):
        return epoch < self._epochs and not self._model.stop_training

    def _train_stretch(self, epoch):
        """Trains the epochs of one call and calls the callbacks. Returns the next epoch, and the last logs."""
        self._callbacks.on_epoch_begin(epoch)
        max_epochs = 1 if self._trains_one_by_one else MOST_EPOCHS
        evaluates = [self._evaluates(e) for e in range(epoch, min(self._epochs, epoch + max_epochs))]
        begin_test = self._callbacks.on_test_begin if self._begins_tests_first else None
        stretch = self._run.stretch(epoch, evaluates, bool(self._user_callbacks), self._bars, begin_test)
        num_finite = stretch.epochs if stretch.finite else stretch.epochs - 1
        message = None
        if not stretch.finite:
            message = not_finite(self._model, epoch + num_finite, numbers(stretch.logs, num_finite).get("loss"))
        logs = None
        for i in range(num_finite):
            if i:
                self._callbacks.on_epoch_begin(epoch + i)
            self._run.select_epoch(i)
            logs = numbers(stretch.logs, i)
            if evaluates[i]:
                logs |= self._call_test_hooks(numbers(stretch.scores, i))
            if stretch.epochs > 1:
                # The bar shows the time since its start. We set the start so that this time is the mean
                # time of an epoch of this call.
                for bar in self._bars:
                    adapter_of(self._model).set_start(bar, time.time() - stretch.seconds / stretch.epochs)
            self._callbacks.on_epoch_end(epoch + i, logs)
            for backup in self._backups:
                backup.save(epoch + i + 1, logs)
            if self._model.stop_training:
                break
        self._run.restore_epoch()
        if message and not self._model.stop_training:
            raise FloatingPointError(message)
        return epoch + num_finite, logs

    def _call_test_hooks(self, scores):
        """Calls the test hooks of the callbacks. Returns the scores under names that begin with `val_`."""
        if not self._begins_tests_first:
            self._callbacks.on_test_begin()
        self._callbacks.on_test_end(scores)
        return {f"val_{name}": score for name, score in scores.items()}
