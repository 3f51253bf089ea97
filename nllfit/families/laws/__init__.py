"""The laws of TFP's families: a row of facts for each family, in modules of related families.

Formulas are functions of a distribution and outcomes. CDFs and tails return a pair, `P(Y <= y)` and `P(Y > y)` or the
logarithms, for `y` within the support. A CRPS formula holds for any number: an outcome outside the support adds its
distance to the score of the nearer end. The score may be finite if the mean is infinite; the formulas hold whenever the
score is finite.

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
