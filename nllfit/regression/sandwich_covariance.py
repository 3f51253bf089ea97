"""The sandwich covariance of a regression's coefficients, for independent rows or for clusters of rows."""

import numpy as np

__all__ = ["sandwich"]


def sandwich(bread: np.ndarray, scores: np.ndarray, weights: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """Returns the sandwich covariance `bread @ meat @ bread`, `[p, p]`.

    The meat is the sum of `s s'` over all rows or, for clusters, over all clusters; then `s` is the sum of the scores
    of a cluster, and the covariance is multiplied by `G / (G - 1) * (n - 1) / (n - p)`, for `G` clusters and `n` rows.

    Args:
      bread: the inverse of the information, `[p, p]`.
      scores: the gradient of each row's log-likelihood, `[n, p]`.
      weights: the number of times that each row counts, `[n]`.
      clusters: the index of each row's cluster, `[n]`, or None for independent rows.

    Source: Liang and Zeger, Longitudinal data analysis using generalized linear models, 1986. The factor is Stata's.
    """
    if clusters is None:
        influences = np.sqrt(weights)[:, None] * scores @ bread
        return influences.T @ influences
    sums = np.zeros([clusters.max() + 1, len(bread)])
    np.add.at(sums, clusters, weights[:, None] * scores)
    rows = weights.sum()
    factor = len(sums) / (len(sums) - 1) * (rows - 1) / (rows - len(bread))
    # Not `bread @ (sums.T @ sums) @ bread`: rounding errors could raise the rank of this product above the number of
    # clusters. Then `test` of as many constraints as clusters would return a p-value and not NaN.
    influences = sums @ bread
    return factor * influences.T @ influences
