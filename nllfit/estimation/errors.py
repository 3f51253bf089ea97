"""Errors of the natural parameters, from the observed information by the delta method."""

import numpy as np
import tensorflow as tf

from nllfit.curvature import principal_axes
from nllfit.estimation.newton import Optimum
from nllfit.estimation.problem import Problem

__all__ = ["natural_errors"]

_IDLE = 1e-4  # of a parameter's derivative that lies in directions which change no density, from which on it is idle


def natural_errors(problem: Problem, optimum: Optimum) -> np.ndarray:
    """Independent errors `[q, r]` of all numbers of the natural parameters; their product is the covariance.

    NaN where there are none: at no maximum, or where the likelihood is not smooth. Infinite where a direction that
    changes no density moves the parameter, as a shift does the cutpoints of an ordered logistic distribution, and its
    location.
    """
    w = tf.constant(optimum.w)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(w)
        values = problem.natural(w)
        flat = tf.concat([tf.reshape(value, [-1]) for value in values.values()], 0)
    if not optimum.converged:
        return np.full([len(flat), 1], np.nan)
    jacobian = tape.jacobian(flat, w, unconnected_gradients="zero", experimental_use_pfor=False).numpy()
    axes, curvature = principal_axes(optimum.information)
    along, rank = jacobian @ axes, optimum.rank
    found = along[:, :rank] / np.sqrt(curvature[:rank])
    held = np.concatenate([np.full(tf.size(value), name in problem.held) for name, value in values.items()])
    idle = np.hypot.reduce(along[:, rank:], axis=1) > _IDLE * np.hypot.reduce(along, axis=1)
    return np.concatenate([found, np.where(held, np.nan, np.where(idle, np.inf, 0.0))[:, None]], 1)
