"""Facts about TFP's families: an entry `tfd.Beta: Facts(...)` for each family, in modules of related families.

Formulas are functions of a distribution and outcomes `y`. CDFs return the pair `P(Y <= y)` and `P(Y > y)`, log-tails
return the logarithms of this pair, for `y` within the support. A CRPS formula holds for any number: for an outcome
outside the support, the score is that of the nearer end plus the distance from it. If the mean is infinite, the score
may still be finite; the formulas hold whenever it is.

Source of the CRPS: Jordan, Krueger and Lerch, Evaluating probabilistic forecasts with scoringRules, 2019, appendix A,
if no other is named.
"""

from nllfit.families.facts import FACTS
from nllfit.families.laws.bounded import BOUNDED
from nllfit.families.laws.counts import COUNTS
from nllfit.families.laws.exponential import EXPONENTIAL
from nllfit.families.laws.gamma import GAMMA
from nllfit.families.laws.labels import LABELS
from nllfit.families.laws.normal import NORMAL
from nllfit.families.laws.normal_compounds import NORMAL_COMPOUNDS
from nllfit.families.laws.student_t import STUDENT_T
from nllfit.families.laws.vectors import VECTORS

__all__: list[str] = []

for _rows in (BOUNDED, COUNTS, EXPONENTIAL, GAMMA, LABELS, NORMAL, NORMAL_COMPOUNDS, STUDENT_T, VECTORS):
    FACTS.update(_rows)
