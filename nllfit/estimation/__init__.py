"""Estimation: the likelihood of a sample, and the parameters that maximise it.

The way of a sample, from a user to a density and back, one module a step:

    samples       `y`, `weights`: read once at the door, float64, finite, of positive weight
    problem       the sample and its family, which the sample can be fitted to; what is a statistic is `held`
    units         `y` and the parameters, brought to around 0 and 1 and back
    starts        points `w` to search from
    newton        the search: a climb over `w`, and a verdict on its end, an `Optimum`
    objective     `w` -> the mean log-likelihood and its derivatives, exact or by differences
    coordinates   `w`, real numbers -> the `constrained` parameters that the family is built from, as one vector a
                  `point` -> the `natural` ones, as a statistician names them
    density       `point`, `y` -> the family's log-density and its derivatives, as programs written once a family
    search        all of it: who calls whom
    estimators    `maximum_likelihood`, the door
    errors        those of the natural parameters at an optimum
    estimates     the `Estimate` at an `Optimum`: natural parameters, errors, intervals by a `profile`, the table

`refits` fits many samples at once, for the `bootstrap` and `goodness` of fit; `nested` compares two estimates and
`comparison` ranks them; `likelihoods` looks at a likelihood on a grid and needs none of the above.

A parameter has four forms, each with one name. `params` are the unconstrained numbers that a network gives; `w`, the
`coordinates` of the free ones, is the same vector with logarithms of positive parameters; `constrained` parameters are
what `Family.build` takes, under TFP's names (`log_rate`); `natural` ones are what a statistician reads (`rate`). `held`
parameters are not free: their estimate is a statistic of the sample, or a profile holds them.
"""

from nllfit.estimation.comparison import Comparison, compare
from nllfit.estimation.estimates import Estimate, maximum_likelihood
from nllfit.estimation.goodness import GoodnessOfFit, goodness_of_fit
from nllfit.estimation.likelihood_ratio import LikelihoodRatioTest, likelihood_ratio_test
from nllfit.estimation.likelihoods import likelihood, log_likelihood

__all__ = [
    "Comparison",
    "Estimate",
    "GoodnessOfFit",
    "LikelihoodRatioTest",
    "compare",
    "goodness_of_fit",
    "likelihood",
    "likelihood_ratio_test",
    "log_likelihood",
    "maximum_likelihood",
]
