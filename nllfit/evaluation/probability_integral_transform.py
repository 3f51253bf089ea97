"""PITs (probability integral transforms) of outcomes: the predicted CDF at the outcome, randomized for counts."""

import numpy as np
from tensorflow_probability import distributions as tfd

from nllfit.cdf_and_quantiles import cdf
from nllfit.families.copies import real_dtype
from nllfit.families.law import law_of

__all__ = ["interval_pits", "pit"]


def pit(distribution: tfd.Distribution, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the PITs of outcomes `y`: `F(y)` or, for counts, a random point between `F(y - 1)` and `F(y)`."""
    dtype = real_dtype(law_of(distribution).marginals()).as_numpy_dtype
    y = y.astype(dtype)
    # The largest number below 0 is subnormal, and TensorFlow would round it to 0.
    just_below = np.where(y == 0, -np.finfo(dtype).tiny, np.nextafter(y, -np.inf))
    below, up_to = np.asarray(cdf(distribution, just_below)), np.asarray(cdf(distribution, y))
    return below + rng.uniform(size=y.shape) * (up_to - below)


def interval_pits(latent: tfd.Distribution, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the PITs of numbers that are only known to lie in intervals.

    The PIT is a random point between the CDFs at the two ends.
    """
    lower, upper = y[..., 0], y[..., 1]
    exact_pits = pit(latent, np.where(lower == upper, lower, 0.0), rng)
    below, up_to = np.asarray(cdf(latent, lower)), np.asarray(cdf(latent, upper))
    return np.where(lower == upper, exact_pits, below + rng.uniform(size=lower.shape) * (up_to - below))
