"""The benchmark `sizes`: each size can be measured, and the table shows how time grows with the size."""

import pytest

from experiments import common
from experiments.benchmarks import sizes


@pytest.mark.thorough
@pytest.mark.parametrize(
    "what", [pytest.param(name, marks=() if name == "components" else pytest.mark.thorough) for name in sizes.SIZES]
)
def test_each_number_can_grow(what):
    found = sizes.measured(common.toolkit(3), what, 2)
    assert list(found) == list(sizes.COLUMNS)
    assert min(found.values()) >= 0


@pytest.mark.parametrize("size", ["0", "-5", "1e6", "many"])
def test_a_size_that_is_no_positive_integer_is_refused(size):
    with pytest.raises(ValueError, match=f"--job rows {size}: give a size of at least 1, as an integer"):
        sizes.main(["--job", "rows", size])


def test_the_slope_is_the_exponent_of_growth(capsys):
    row = dict.fromkeys(sizes.COLUMNS, 1.0)
    sizes.show({"rows": {"10": row, "100": row | {"second": 10.0}, "1000": {"failed": "no memory"}}})
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].endswith("1.00")
    assert "no memory" in lines[-1]
