"""The sandwich covariance of a regression's coefficients, for independent rows or for clusters of rows."""

import numpy as np

__all__ = ["sandwich"]


def sandwich(bread: np.ndarray, scores: np.ndarray, weights: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """Returns the sandwich covariance `bread @ meat @ bread`, `[p, p]`.

    For independent rows, the meat is the sum of `s s'` over all rows, where `s` is the score of a row. For clusters,
    the meat is the sum of `s s'` over all clusters, where `s` is the sum of the scores in a cluster. With `G` clusters
    and `n` rows, the covariance is then multiplied by `G / (G - 1) * (n - 1) / (n - p)`.

    Args:
      bread: the inverse of the information, `[p, p]`.
      scores: the score of each row, which is the gradient of its log-likelihood, `[n, p]`.
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
    # We do not compute `bread @ (sums.T @ sums) @ bread`, because rounding errors could raise its rank. If there are as
    # many constraints as clusters, `test` would then return a p-value, where NaN is correct.
    influences = sums @ bread
    return factor * influences.T @ influences
