"""Competing risks: the probability that an event of each cause happens by a time, from one Cox model per cause."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nllfit.regression.cox import CoxRegression
from nllfit.regression.data_columns import as_times
from nllfit.regression.optional_packages import pandas as pd

__all__ = ["cause_specific_risks"]


def cause_specific_risks(fits: Mapping[Any, CoxRegression], data: Any, times: ArrayLike) -> dict[Any, Any]:
    """Returns the cumulative incidence: the probability that an event of a cause happens by a time.

    Each cause has a Cox model in which events of other causes count as censoring. Let `H_k` be the cumulative hazard of
    cause `k`, and `S = exp(-sum_k H_k)`. Then the probability is `sum_{t_j <= t} S(t_{j-1}) (H_k(t_j) - H_k(t_{j-1}))`,
    where `t_j` are the times of the events of all causes.

    Args:
      fits: `{cause: fit}`. For each cause, `fit` is a Cox model without strata, such as
        `cox_regression("Surv(time, cause == 1) ~ x", data)` for cause 1.
      data: a table with the columns of the formulas.
      times: the times, `[k]`, or one time.

    Returns:
      A dict `{cause: DataFrame}`. Each `DataFrame` has one row per row of `data` and one column per time.

    Raises:
      TypeError: if `fits` is not a dict, or `data` is not a table.
      ValueError: if `fits` is empty, a fit has strata, a time is NaN, or `CoxRegression.predict` refuses `data`.

    Source: Prentice et al., The analysis of failure times in the presence of competing risks, 1978.
    """
    if not isinstance(fits, Mapping):
        raise TypeError(f"`fits` is a {type(fits).__name__}: give a dict with a Cox model for each cause.")
    if not fits:
        raise ValueError("`fits` is empty: give a Cox model for each cause.")
    times = as_times(times)
    event_times = np.unique(np.concatenate([fit.baseline()["time"] for fit in fits.values()]))
    event_times = event_times[event_times <= max(times, default=-np.inf)]
    hazards = {cause: fit.cumulative_hazard(data, event_times) for cause, fit in fits.items()}
    total = np.sum([hazard.to_numpy() for hazard in hazards.values()], axis=0)
    survival_before = np.exp(-np.column_stack([np.zeros(len(total)), total[:, :-1]]))
    num_past = np.searchsorted(event_times, times, "right")
    risks = {}
    for cause, hazard in hazards.items():
        jumps = np.diff(hazard.to_numpy(), axis=1, prepend=0.0)
        incidence = np.column_stack([np.zeros(len(total)), np.cumsum(survival_before * jumps, 1)])
        risks[cause] = pd.DataFrame(incidence[:, num_past], hazard.index, times)
    return risks
