"""From coefficients to the numbers that a head takes for each row, and derivatives back: `u = x b + offset`."""

from collections.abc import Sequence

import numpy as np

from nllfit.regression.predictors import Predictor

__all__ = ["Designs", "by_coefficients", "numbers_of", "of_each_row", "summed"]

Designs = Sequence[tuple[np.ndarray, np.ndarray | None]]  # a matrix [n, k] and an offset [n] for each predictor


def numbers_of(predictors: Sequence[Predictor], designs: Designs, coefficients: np.ndarray) -> np.ndarray:
    """What the head takes, `[n, params_size]`, at coefficients `[q]`."""
    found = np.zeros([len(designs[0][0]), sum(predictor.size for predictor in predictors)])
    first = 0
    for predictor, (matrix, offset) in zip(predictors, designs, strict=True):
        for place in predictor.places:
            found[:, place] = matrix @ coefficients[first : first + matrix.shape[1]]
            first += matrix.shape[1]
            if offset is not None:
                found[:, place] += offset
    return found


def by_coefficients(predictors: Sequence[Predictor], designs: Designs, slopes: np.ndarray) -> np.ndarray:
    """Derivatives by the coefficients, `[n, q]`, of what has the derivatives `[n, params_size]` by the numbers."""
    return np.concatenate([slopes[:, [place]] * matrix for place, matrix in _blocks(predictors, designs)], 1)


def summed(predictors: Sequence[Predictor], designs: Designs, bends: np.ndarray) -> np.ndarray:
    """The sum over rows of second derivatives by the coefficients, `[q, q]`, from those by the numbers `[n, P, P]`."""
    blocks = _blocks(predictors, designs)
    return np.block([[x.T @ (bends[:, a, b, None] * z) for b, z in blocks] for a, x in blocks])


def of_each_row(predictors: Sequence[Predictor], designs: Designs, bends: np.ndarray) -> np.ndarray:
    """The second derivatives of each row by the coefficients, `[n, q, q]`."""
    blocks = _blocks(predictors, designs)
    rows = [[bends[:, a, b, None, None] * x[:, :, None] * z[:, None] for b, z in blocks] for a, x in blocks]
    return np.concatenate([np.concatenate(row, 2) for row in rows], 1)


def _blocks(predictors, designs):
    """For each number that has coefficients its place and its matrix, in the order of the coefficients."""
    pairs = zip(predictors, designs, strict=True)
    return [(place, matrix) for predictor, (matrix, _) in pairs for place in predictor.places]
