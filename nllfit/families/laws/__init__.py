"""Facts about TFP's families. Each module has an entry, such as `tfd.Beta: Facts(...)`, for each of its families.

Formulas are functions of a distribution and outcomes `y`. A CDF returns the pair `P(Y <= y)` and `P(Y > y)`, and
log-tails are the logarithms of this pair. CDFs and log-tails take only `y` within the support. A CRPS formula takes
any number. If `y` is outside the support, the CRPS is the CRPS of the nearest end of the support plus the distance to
this end. The CRPS can be finite although the mean is infinite. The formulas hold for all parameters at which the CRPS
is finite.

Source of the CRPS, unless a docstring names another: Jordan, Krueger and Lerch, Evaluating probabilistic forecasts with
scoringRules, 2019, appendix A.
"""

from nllfit.families.facts import FACTS
from nllfit.families.laws.bernoulli_categorical_ordinal import LABELS
from nllfit.families.laws.bounded import BOUNDED
from nllfit.families.laws.counts import COUNTS
from nllfit.families.laws.exponential_logistic_pareto_extreme_value import EXPONENTIAL
from nllfit.families.laws.gamma_and_chi_squared import GAMMA
from nllfit.families.laws.inverse_gaussian_and_modified_gaussian import NORMAL_COMPOUNDS
from nllfit.families.laws.normal import NORMAL
from nllfit.families.laws.student_t_and_cauchy import STUDENT_T
from nllfit.families.laws.vectors_and_directions import VECTORS

__all__: list[str] = []

for _rows in (BOUNDED, COUNTS, EXPONENTIAL, GAMMA, LABELS, NORMAL, NORMAL_COMPOUNDS, STUDENT_T, VECTORS):
    FACTS.update(_rows)
