"""Builds heads and models for the cases of `tests/head_cases.py`, in each version of Keras."""

import numpy as np
import pytest

from nllfit import heads
from tests.head_cases import CASES
from tests.keras_versions import alternately

# One or two cases for each head. The head's other cases differ from these in a constant, a link, or a feature that the
# cases of other heads also have.
ONCE = [case for case in CASES if not case.kwargs or case.id in ("Normal-shared=('scale',)", "Truncated-low=0.0")]

# Each case is tested with one Keras version. The cases of Truncated are marked `thorough`, because their tail
# probabilities take many operations.
one_keras_each = pytest.mark.parametrize(
    ("kit", "case"), alternately(CASES, left_out=[case for case in CASES if case.name == "Truncated"])
)


def make_head(kit, case, **kwargs):
    return getattr(kit.heads, case.name)(*case.args, **case.kwargs, **kwargs)


def params_size(case):
    return getattr(heads, case.name).params_size(*case.args, **case.kwargs)


def numbers(case, dtype="float64", seed=0):
    return np.random.default_rng(seed).normal(size=[len(case.outcomes), params_size(case)]).astype(dtype)


def make_model(kit, case, dtype="float32"):
    kit.keras.utils.set_random_seed(1)
    layers = kit.keras.layers
    return kit.keras.Sequential(
        [
            kit.keras.Input((3,), dtype=dtype),
            layers.Dense(8, "tanh", dtype=dtype),
            layers.Dense(params_size(case), dtype=dtype),
            make_head(kit, case, dtype=dtype),
        ]
    )


def inputs(case, dtype="float32"):
    return np.random.default_rng(2).normal(size=[len(case.outcomes), 3]).astype(dtype)


def all_heads(kit, cases=CASES):
    """A model with one output for each case."""
    kit.keras.utils.set_random_seed(1)
    x = kit.keras.Input((3,))
    hidden = kit.keras.layers.Dense(8, "tanh")(x)
    outputs = {}
    for i, case in enumerate(cases):
        head = make_head(kit, case, name=f"head{i}")
        outputs[head.name] = head(kit.keras.layers.Dense(params_size(case))(hidden))
    return kit.keras.Model(x, outputs)


def outcomes(cases):
    """Four outcomes for each output of `all_heads`."""
    return {f"head{i}": case.outcomes for i, case in enumerate(cases)}
