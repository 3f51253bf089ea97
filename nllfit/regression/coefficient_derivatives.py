"""The linear map `u = x b + offset` from coefficients to linear predictors, and the chain rule for its derivatives."""

from collections.abc import Sequence

import numpy as np

from nllfit.regression.keras_model import Predictor

__all__ = ["Designs", "by_coefficients", "numbers_of", "of_each_row", "summed"]

Designs = Sequence[tuple[np.ndarray, np.ndarray | None]]  # a matrix [n, k] and an offset [n] for each predictor


def numbers_of(predictors: Sequence[Predictor], designs: Designs, coefficients: np.ndarray) -> np.ndarray:
    """Returns the linear predictors `[n, params_size]`, the input of the head, for coefficients `[q]`."""
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
    """Returns the gradient of each row's loss with respect to the coefficients, `[n, q]`.

    `slopes` are the gradients with respect to the linear predictors, `[n, P]`, where `P` is `params_size`.
    """
    return np.concatenate([slopes[:, [place]] * matrix for place, matrix in _blocks(predictors, designs)], 1)


def summed(predictors: Sequence[Predictor], designs: Designs, bends: np.ndarray) -> np.ndarray:
    """Returns the Hessian of the sum of all losses with respect to the coefficients, `[q, q]`.

    `bends` are the Hessians of the rows' losses with respect to the linear predictors, `[n, P, P]`.
    """
    blocks = _blocks(predictors, designs)
    return np.block([[x.T @ (bends[:, a, b, None] * z) for b, z in blocks] for a, x in blocks])


def of_each_row(predictors: Sequence[Predictor], designs: Designs, bends: np.ndarray) -> np.ndarray:
    """Returns the Hessian of each row's loss with respect to the coefficients, `[n, q, q]`.

    `bends` are the Hessians of the rows' losses with respect to the linear predictors, `[n, P, P]`.
    """
    blocks = _blocks(predictors, designs)
    rows = [[bends[:, a, b, None, None] * x[:, :, None] * z[:, None] for b, z in blocks] for a, x in blocks]
    return np.concatenate([np.concatenate(row, 2) for row in rows], 1)


def _blocks(predictors, designs):
    """Returns, in the order of the coefficients, the index and the design matrix of each linear predictor."""
    pairs = zip(predictors, designs, strict=True)
    return [(place, matrix) for predictor, (matrix, _) in pairs for place in predictor.places]
