"""Estimation: the likelihood of a sample, and the parameters that maximise it.

A sample passes these modules on its way from a user to a density and back:

    samples       reads `y` and `weights`: float64, finite, of positive weight
    problem       a checked sample and its family; parameters whose estimate is a statistic are `held`
    units         an affine map that brings `y` and the parameters to around 0 and 1
    starts        points `w` to search from
    objective     `w` -> the mean log-likelihood and its derivatives, exact or by differences
    coordinates   `w`, real numbers -> the `constrained` parameters that the family is built from, as one vector a
                  `point` -> the `natural` ones, as a statistician names them
    density       `point`, `y` -> the family's log-density and its derivatives, as programs traced once a family
    nonsmooth     corners of a likelihood, and maxima between any two observations
    search        decides where to begin and how often to climb
    verdicts      puts the end of a search into words
    fit           a problem and the end of its search, with errors by the delta method
    estimates     `maximum_likelihood`, the door, and the `Estimate`: intervals by a `profile`, the table

`optimum` climbs an objective by Newton's method. `refits` fits many samples at once, for the `bootstrap` and `goodness`
of fit; `likelihood_ratio` compares two estimates and `comparison` ranks them; `likelihoods` evaluates a likelihood on a
grid and needs none of the above.

A parameter has four forms, each with one name. `params` are the unconstrained numbers that a network gives; `w`, the
`coordinates` of the free ones, is the same vector with logarithms of positive parameters; `constrained` parameters are
what `Family.build` takes, under TFP's names (`log_rate`); `natural` ones are what a statistician reads (`rate`).
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
