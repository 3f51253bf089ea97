"""Linear predictors `u = x b + offset`, and derivatives of losses with respect to the coefficients `b`.

The chain rule computes these derivatives from the derivatives with respect to `u`.
"""

from collections.abc import Sequence

import numpy as np

from nllfit.regression.keras_model import Predictor

__all__ = ["Designs", "by_coefficients", "numbers_of", "of_each_row", "summed"]

# For each predictor: a design matrix [n, k], and an offset [n] or None.
Designs = Sequence[tuple[np.ndarray, np.ndarray | None]]


def numbers_of(predictors: Sequence[Predictor], designs: Designs, coefficients: np.ndarray) -> np.ndarray:
    """Returns the linear predictors `[n, params_size]`, the input of the head, for coefficients `[q]`."""
    numbers = np.zeros([len(designs[0][0]), sum(predictor.size for predictor in predictors)])
    first = 0
    for predictor, (matrix, offset) in zip(predictors, designs, strict=True):
        for index in predictor.indices:
            numbers[:, index] = matrix @ coefficients[first : first + matrix.shape[1]]
            first += matrix.shape[1]
            if offset is not None:
                numbers[:, index] += offset
    return numbers


def by_coefficients(predictors: Sequence[Predictor], designs: Designs, gradients: np.ndarray) -> np.ndarray:
    """Returns the gradient of each row's loss with respect to the coefficients, `[n, q]`.

    `gradients` are those of the rows' losses with respect to the linear predictors, `[n, P]`. `P` is `params_size`.
    """
    return np.concatenate([gradients[:, [index]] * matrix for index, matrix in _blocks(predictors, designs)], 1)


def summed(predictors: Sequence[Predictor], designs: Designs, hessians: np.ndarray) -> np.ndarray:
    """Returns the Hessian of the sum of all losses with respect to the coefficients, `[q, q]`.

    `hessians` are those of the rows' losses with respect to the linear predictors, `[n, P, P]`.
    """
    blocks = _blocks(predictors, designs)
    return np.block([[x.T @ (hessians[:, a, b, None] * z) for b, z in blocks] for a, x in blocks])


def of_each_row(predictors: Sequence[Predictor], designs: Designs, hessians: np.ndarray) -> np.ndarray:
    """Returns the Hessian of each row's loss with respect to the coefficients, `[n, q, q]`.

    `hessians` are those of the rows' losses with respect to the linear predictors, `[n, P, P]`.
    """
    blocks = _blocks(predictors, designs)
    rows = [[hessians[:, a, b, None, None] * x[:, :, None] * z[:, None] for b, z in blocks] for a, x in blocks]
    return np.concatenate([np.concatenate(row, 2) for row in rows], 1)


def _blocks(predictors, designs):
    """Returns the index and the design matrix of each linear predictor, in the order of the coefficients."""
    pairs = zip(predictors, designs, strict=True)
    return [(index, matrix) for predictor, (matrix, _) in pairs for index in predictor.indices]
