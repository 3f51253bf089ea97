"""Estimation: the likelihood of a sample, and the parameters that maximise it.

`maximum_likelihood` uses these modules, in this order:

    samples       converts `y` and `weights` to float64 arrays and checks them
    problem       a checked sample and its family; parameters whose estimate is a statistic of the sample are `held`
    units         an affine map that scales `y` and the parameters to about 0 and 1
    starts        initial values of `w` for the search
    objective     `w` -> the mean log-likelihood and its derivatives, exact or by finite differences
    coordinates   `w`, unconstrained -> the `constrained` parameters that `Family.build` takes (as one vector: a
                  `point`) -> the `natural` parameters, under the statistician's names
    density       `point`, `y` -> the family's log-density and its derivatives, traced once per family
    nonsmooth     likelihoods with corners, or with a local maximum near every observation
    search        chooses the starts and climbs from them
    verdicts      describes the result of a search in words
    sample_fit    a problem and its optimum, with standard errors by the delta method
    estimates     the public `maximum_likelihood` and `Estimate`: intervals (Wald or `profile`), the table

`optimum` implements Newton's method. `refits` fits many samples at once, for `bootstrap` and `goodness_of_fit`.
`likelihood_ratio` tests one estimate against another, and `comparison` ranks several. `likelihoods` evaluates a
likelihood on a grid and does not depend on the other modules.

A parameter has four forms, each with one name. `params` are the unconstrained outputs of a network. `w`, the
`coordinates`, is the same vector restricted to the free parameters, with logarithms of the positive ones. `constrained`
parameters are the arguments of `Family.build`, under TFP's names (`log_rate`). `natural` parameters have the names that
statisticians use (`rate`).
"""

from nllfit.estimation.comparison import Comparison, compare
from nllfit.estimation.estimates import Estimate, maximum_likelihood
from nllfit.estimation.goodness_of_fit import GoodnessOfFit, goodness_of_fit
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
