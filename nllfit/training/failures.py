"""Errors of training, with messages that name the cause and say what to do."""

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.tensorflow import reason_of

__all__ = ["failed", "first_not_finite", "lost_worker_named", "not_finite", "unfrozen_weight_explained"]

_CHECKS = "Assert", "CheckNumerics"  # a head uses these operations to check that its parameters are finite
_UNCHANGED = "The model is as it was before the epoch."


def failed(model: Model, epoch: int, error: tf.errors.OpError) -> Exception:
    """Converts TensorFlow's error to an error that says why a step failed.

    There are three cases: training diverged, XLA cannot compile the step, or the data or the model are wrong.
    """
    nodes = re.findall(r"\{\{node (?:\S*/)?(\w+?)(?:_\d+)?\}\}", error.message)
    if first_not_finite(model) or any(node in _CHECKS for node in nodes):
        return FloatingPointError(not_finite(model, epoch, np.nan))
    text = error.message.partition("\n\t [[")[0].partition("\n\nStack trace")[0].strip()
    if "XLA" in text:
        unknown = re.search(r"XLA_\w+_JIT: (\w+)", text)
        reason = f"it has no {unknown[1]}" if unknown else text.partition(". ")[0].rstrip(".")
        advice = 'fit with `compile="graph"` or `compile="auto"`'
        return ValueError(f"Epoch {epoch + 1}: XLA cannot compile a step ({reason}): {advice}. {_UNCHANGED}")
    return ValueError(f"Epoch {epoch + 1}: a step failed: {reason_of(error)}. {_UNCHANGED}")


@contextlib.contextmanager
def lost_worker_named(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Replaces TensorFlow's error about a lost worker by an error that names the worker and says how to start again."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        lost = _lost_worker(strategy.cluster_resolver, error.message)
        if lost is None:
            raise
        lines = [line.strip(" .") for line in error.message.partition("aborted by:")[2].splitlines() if line.strip()]
        reason = next((line for line in lines if not line.endswith(":")), None)  # a line with ":" is only a heading
        setting = f"TF_CONFIG={shlex.quote(os.environ['TF_CONFIG'])} " if "TF_CONFIG" in os.environ else ""
        raise ConnectionError(
            f"{lost} is lost{f' ({reason})' if reason else ''}, and the others "
            f"cannot continue without it: start all of them again as before, this one by "
            f"`{setting}{shlex.join(sys.orig_argv)}`. With a `BackupAndRestore` in `callbacks` they resume "
            f"after the last complete epoch."
        ) from error


@contextlib.contextmanager
def unfrozen_weight_explained(model: Model) -> Iterator[None]:
    """Explains Keras's error about a weight that was frozen when the optimizer created its variables."""
    try:
        yield
    except Exception as error:
        if not adapter_of(model).is_unknown_variable(error):
            raise
        raise ValueError(
            "A weight that was frozen when the optimizer created its variables is trainable now: call `model.compile` "
            "again after you set `trainable`."
        ) from error


def _lost_worker(resolver, message):
    """Returns the name and the address of the lost worker, or None if TensorFlow's message names no worker.

    If the message names a worker that is not this one, that worker is lost. If the message names only this worker, and
    there are two workers, the other one is lost. If there are more workers, the lost one is unknown, and the result is
    "A worker".
    """
    named = [(job, int(number)) for job, number in re.findall(r"/job:(\w+)/replica:\d+/task:(\d+)", message)]
    if not named or resolver is None:
        return None
    spec, here = resolver.cluster_spec(), (resolver.task_type, resolver.task_id)
    workers = [(job, number) for job in spec.jobs for number in range(spec.num_tasks(job))]
    others = [worker for worker in named if worker != here] or [worker for worker in workers if worker != here]
    if len(set(others)) > 1 and here in named and set(named) == {here}:
        return "A worker"
    job, number = others[0]
    return f"{job.capitalize()} {number} at {spec.task_address(job, number)}"


def first_not_finite(model: Model) -> str | None:
    """Returns the name of the first layer with a weight that is not finite, or None."""
    weights = ((layer, w) for layer in model.layers for w in layer.get_weights() if w.dtype.kind not in "OSU")
    return next((layer.name for layer, w in weights if not np.all(np.isfinite(w))), None)


def not_finite(model: Model, epoch: int, loss: float | None) -> str:
    """Returns the message for an epoch after which the loss or a weight is not finite."""
    layer = first_not_finite(model)
    detail = f", and `{layer}` is the first layer with a weight that is not finite" if layer else " with finite weights"
    float16 = next((layer.name for layer in model.layers if getattr(layer, "compute_dtype", None) == "float16"), None)
    advice = f"`{float16}` computes in float16, which ends at 65504: try bfloat16 or float32, " if float16 else "Try "
    return (
        f"Epoch {epoch + 1}: the loss is {loss}{detail}. {_UNCHANGED} "
        f"{advice}a smaller learning rate, `clipnorm` in the optimizer, or standardised inputs."
    )
