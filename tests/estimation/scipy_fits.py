"""Families that TFP and SciPy share: SciPy's name, the arguments that its `fit` must hold fixed, and a sampler."""

import numpy as np
from scipy import stats

POSITIVE = {"floc": 0}  # TFP's positive families have no location

CASES = {
    "Beta": ("beta", {"floc": 0, "fscale": 1}, lambda rng, n: rng.beta(2, 3, n)),
    "Cauchy": ("cauchy", {}, lambda rng, n: 1 + 2 * rng.standard_cauchy(n)),
    "Chi": ("chi", {"floc": 0, "fscale": 1}, lambda rng, n: np.sqrt(rng.chisquare(3, n))),
    "Chi2": ("chi2", {"floc": 0, "fscale": 1}, lambda rng, n: rng.chisquare(3, n)),
    "Exponential": ("expon", POSITIVE, lambda rng, n: rng.exponential(2, n)),
    "ExponentiallyModifiedGaussian": ("exponnorm", {}, lambda rng, n: rng.normal(1, 1, n) + rng.exponential(2, n)),
    "Gamma": ("gamma", POSITIVE, lambda rng, n: rng.gamma(3, 2, n)),
    "GeneralizedExtremeValue": ("genextreme", {}, lambda rng, n: 1 + 10 * (rng.exponential(1, n) ** -0.2 - 1)),
    "GeneralizedNormal": ("gennorm", {}, lambda rng, n: stats.gennorm.rvs(1.5, 1, 2, size=n, random_state=rng)),
    "GeneralizedPareto": ("genpareto", {}, lambda rng, n: stats.genpareto.rvs(0.3, 1, 2, size=n, random_state=rng)),
    "Gumbel": ("gumbel_r", {}, lambda rng, n: rng.gumbel(1, 2, n)),
    "HalfCauchy": ("halfcauchy", {}, lambda rng, n: 1 + 2 * np.abs(rng.standard_cauchy(n))),
    "HalfNormal": ("halfnorm", POSITIVE, lambda rng, n: np.abs(rng.normal(0, 2, n))),
    "InverseGamma": ("invgamma", POSITIVE, lambda rng, n: 2 / rng.gamma(3, 1, n)),
    "InverseGaussian": ("invgauss", POSITIVE, lambda rng, n: rng.wald(2, 3, n)),
    "JohnsonSU": ("johnsonsu", {}, lambda rng, n: stats.johnsonsu.rvs(0.5, 1.5, 1, 2, size=n, random_state=rng)),
    "Laplace": ("laplace", {}, lambda rng, n: rng.laplace(1, 2, n)),
    "LogLogistic": ("fisk", POSITIVE, lambda rng, n: np.exp(rng.logistic(1, 0.5, n))),
    "LogNormal": ("lognorm", POSITIVE, lambda rng, n: rng.lognormal(1, 0.5, n)),
    "Logistic": ("logistic", {}, lambda rng, n: rng.logistic(1, 2, n)),
    "Moyal": ("moyal", {}, lambda rng, n: stats.moyal.rvs(1, 2, size=n, random_state=rng)),
    "NoncentralChi2": ("ncx2", {"floc": 0, "fscale": 1}, lambda rng, n: rng.noncentral_chisquare(3, 4, n)),
    "Normal": ("norm", {}, lambda rng, n: rng.normal(1, 2, n)),
    "NormalInverseGaussian": (
        "norminvgauss",
        {},
        lambda rng, n: stats.norminvgauss.rvs(2, 0.5, 1, 2, size=n, random_state=rng),
    ),
    "Pareto": ("pareto", POSITIVE, lambda rng, n: 2 * (1 + rng.pareto(3, n))),
    "StudentT": ("t", {}, lambda rng, n: 1 + 2 * rng.standard_t(4, n)),
    "Triangular": ("triang", {}, lambda rng, n: rng.triangular(1, 2, 4, n)),
    "TruncatedNormal": ("truncnorm", {}, lambda rng, n: stats.truncnorm.rvs(-1, 1.5, 1, 2, size=n, random_state=rng)),
    "Uniform": ("uniform", {}, lambda rng, n: rng.uniform(1, 3, n)),
    "VonMises": ("vonmises", {"fscale": 1}, lambda rng, n: rng.vonmises(0.5, 2, n)),
    "Weibull": ("weibull_min", POSITIVE, lambda rng, n: 2 * rng.weibull(1.5, n)),
}


def scipy_log_likelihood(family, y):
    """The log-likelihood that SciPy's `fit` reaches."""
    name, fixed, _ = CASES[family]
    distribution = getattr(stats, name)
    return distribution.logpdf(y, *distribution.fit(y, **fixed)).sum()


def sample(family, n):
    """A seeded sample from the family."""
    return CASES[family][2](np.random.default_rng(0), n)
