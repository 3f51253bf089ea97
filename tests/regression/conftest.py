"""The data of the tests of survival regressions."""

import numpy as np
import pytest
import statsmodels.api as sm


@pytest.fixture(scope="module")
def heart():
    """Returns the heart transplant data with additional columns.

    `time` is the survival time plus 1 day. `t` is the survival time in units of 50 days, rounded up so that there are
    ties. The columns `g`, `z`, `w` and `s` are artificial.
    """
    data, k = sm.datasets.heart.load_pandas().data, np.arange(69)
    data = data.assign(t=np.ceil(data.survival / 50), time=data.survival + 1, g=k % 3, z=np.sin(k), w=1.0 + k % 2)
    return data.assign(s=np.minimum(data.t - 1, k % 5))
