"""The linear maps `u = x b + offset` from coefficients to the linear predictors of each row, and of derivatives."""

from collections.abc import Sequence

import numpy as np

from nllfit.regression.predictors import Predictor

__all__ = ["Designs", "by_coefficients", "numbers_of", "of_each_row", "summed"]

Designs = Sequence[tuple[np.ndarray, np.ndarray | None]]  # a matrix [n, k] and an offset [n] for each predictor


def numbers_of(predictors: Sequence[Predictor], designs: Designs, coefficients: np.ndarray) -> np.ndarray:
    """The linear predictors of all rows, the input of the head, `[n, params_size]`, at coefficients `[q]`."""
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
    """Maps derivatives with respect to the linear predictors, `[n, params_size]`, to the coefficients, `[n, q]`."""
    return np.concatenate([slopes[:, [place]] * matrix for place, matrix in _blocks(predictors, designs)], 1)


def summed(predictors: Sequence[Predictor], designs: Designs, bends: np.ndarray) -> np.ndarray:
    """Maps Hessians of rows with respect to the linear predictors to the coefficients, and sums them: `[q, q]`."""
    blocks = _blocks(predictors, designs)
    return np.block([[x.T @ (bends[:, a, b, None] * z) for b, z in blocks] for a, x in blocks])


def of_each_row(predictors: Sequence[Predictor], designs: Designs, bends: np.ndarray) -> np.ndarray:
    """Maps Hessians of rows with respect to the linear predictors, `[n, P, P]`, to the coefficients, `[n, q, q]`."""
    blocks = _blocks(predictors, designs)
    rows = [[bends[:, a, b, None, None] * x[:, :, None] * z[:, None] for b, z in blocks] for a, x in blocks]
    return np.concatenate([np.concatenate(row, 2) for row in rows], 1)


def _blocks(predictors, designs):
    """The index and the design matrix of each linear predictor with coefficients, in the order of the coefficients."""
    pairs = zip(predictors, designs, strict=True)
    return [(place, matrix) for predictor, (matrix, _) in pairs for place in predictor.places]
