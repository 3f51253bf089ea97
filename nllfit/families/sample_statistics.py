"""Statistics of a weighted sample that maximise a likelihood which is not smooth in a parameter."""

import numpy as np

__all__ = ["largest", "median", "smallest"]


def smallest(y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The smallest outcomes, `[*event]`."""
    return y.min(0)


def largest(y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The largest outcomes, `[*event]`."""
    return y.max(0)


def median(y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted medians, `[*event]`."""
    order = np.argsort(y, axis=0, kind="stable")
    ordered, cumulated = np.take_along_axis(y, order, 0), np.cumsum(weights[order], axis=0)
    half = cumulated[-1] / 2
    below, above = np.argmax(cumulated >= half, axis=0)[None], np.argmax(cumulated > half, axis=0)[None]
    return (np.take_along_axis(ordered, below, 0)[0] + np.take_along_axis(ordered, above, 0)[0]) / 2
