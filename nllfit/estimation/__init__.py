"""Estimation: the likelihood of a sample, and the parameters that maximise it.

`maximum_likelihood` uses these modules:

    samples         converts `y` and `weights` to float64 arrays and checks them
    problem         a checked sample and its family
    units           an affine map that scales `y` and the parameters to magnitudes of about 1
    starts          initial values for the search
    objective       the mean log-likelihood of the sample and its derivatives, exact or by finite differences
    coordinates     the maps between the three forms of parameters below
    traced_density  the family's log-density and its derivatives, traced once per family
    nonsmooth       likelihoods with corners, or with a local maximum near every observation
    search          chooses the starts and climbs from them
    verdicts        describes the result of a search in words
    delta_method    a problem and its optimum, with standard errors by the delta method
    estimates       the public `maximum_likelihood` and `Estimate`: intervals (Wald or `profile`), the table

`nllfit.optimum` implements Newton's method. `refits` fits many samples at once, for `bootstrap` and
`goodness_of_fit`. `likelihood_ratio` tests one estimate against another, and `comparison` ranks several.
`likelihoods` evaluates a likelihood on a grid and does not depend on the other modules.

Parameters occur in three forms:

- *Coordinates* are a vector `w` of unconstrained numbers, from which the free parameters are computed. The coordinate
  of a positive parameter without a `floor` is the logarithm of the parameter.
- *Constrained* parameters are the arguments of `Family.build`, under TFP's names, such as `scale`. (An argument without
  a constraint, such as `log_rate`, is one too.) The vector of all free parameters in this form is called a *point*.
- Parameters *on the natural scale* are the parameters that a table of estimates shows, such as `rate`. Do not confuse
  them with the natural parameters of an exponential family: for a Poisson, the natural parameter is `log_rate`.

A search varies the *free* parameters. The other parameters are *held*, which means that they are fixed at a value. The
user can hold a parameter. In addition, a parameter is held in two cases:

- The estimate of the parameter is a statistic of the sample, such as the minimum.
- The likelihood has a *corner* (a point at which the slope jumps) at each observation, and the estimate of the
  parameter is one of the observations.
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
