"""Files of estimators may contain only plain values, arrays and families."""

import numpy as np
import pytest
from tensorflow_probability import distributions as tfd

import nllfit
from nllfit.tabular import DistributionRegressor, Network, files

EMPTY = {"class": "DistributionRegressor", "state": {}}
FAMILIES = [
    nllfit.Family("StudentT", 2, df=4.0),
    nllfit.MixtureFamily("Normal", 5, 1, floor={"scale": 1e-3}),
    nllfit.ZeroInflated("Poisson", event_shape=1),
    nllfit.Truncated("Normal", low=0.0, event_shape=1),
    nllfit.Censored(nllfit.Family("Weibull")),
]


def test_saved_values_are_read_unchanged(tmp_path):
    values = {
        "families": FAMILIES,
        "pair": (1, None),
        "network": Network((8,), ("bins",)),
        (2, "key"): True,
        "count": np.int64(3),
    }
    files.write(tmp_path / "a", values | {"array": np.arange(3)})
    found = files.read(tmp_path / "a")
    np.testing.assert_array_equal(found.pop("array"), [0, 1, 2])
    assert found == values
    assert isinstance(found["count"], np.integer)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"arrays.npz", "estimator.json"}


def test_a_class_of_distributions_is_saved_by_its_name(tmp_path):
    files.write(tmp_path / "a", [tfd.Gamma])
    assert files.read(tmp_path / "a") == ["Gamma"]


def test_a_value_that_cannot_be_saved_leaves_no_folder(tmp_path):
    with pytest.raises(TypeError, match="A function cannot be saved"):
        files.write(tmp_path / "a", {"f": lambda: None})
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("text", ['{"class": "Popen", "state": {"dict": []}}', '{"family": 3}', '{"dict": 3}'])
def test_a_file_with_an_unknown_class_or_family_is_refused(tmp_path, text):
    files.write(tmp_path / "a", [1])
    (tmp_path / "a" / "estimator.json").write_text(text)
    with pytest.raises(ValueError, match="does not contain a complete estimator"):
        files.read(tmp_path / "a")


@pytest.mark.parametrize("values", [[1], None, {}, {"class": "DistributionRegressor"}, EMPTY, EMPTY | {"class": []}])
def test_a_file_of_other_values_is_not_an_estimator(tmp_path, values):
    files.write(tmp_path / "a", values)
    with pytest.raises(ValueError, match=r"does not contain an estimator: give one that `save` wrote\."):
        DistributionRegressor.load(tmp_path / "a")
