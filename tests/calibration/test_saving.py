"""`load` refuses folders without a calibrated model; `tests/test_another_process.py` tests saving and loading."""

import json

import pytest

from nllfit import Conformalized, Ensemble, Recalibrated, TemperatureScaled
from tests.keras_versions import each_keras


@each_keras
def test_loading_refuses_other_folders(kit, tmp_path):
    layers = kit.keras.layers.Input((3,)), kit.keras.layers.Dense(1), kit.heads.Bernoulli()
    made = TemperatureScaled(kit.keras.Sequential(layers), 2.0)
    made.save(tmp_path / "a")
    with pytest.raises(ValueError, match="holds something already: name a new folder"):
        made.save(tmp_path / "a")
    with pytest.raises(ValueError, match=r"holds no \.keras file of a member"):
        Ensemble.load(tmp_path / "a")  # an `Ensemble` of the model in this folder would ignore the temperature
    with pytest.raises(ValueError, match=r"contains a TemperatureScaled: load it with `TemperatureScaled.load`"):
        Recalibrated.load(tmp_path / "a")
    for text in ("", "[]", "{}"):
        (tmp_path / "a" / "calibration.json").write_text(text)
        with pytest.raises(ValueError, match=r"has no complete calibration.json: name a folder that `save` wrote"):
            TemperatureScaled.load(tmp_path / "a")
    with pytest.raises(ValueError, match=r"has no complete calibration.json"):
        Conformalized.load(tmp_path / "nowhere")
    for config in ({"class": "TemperatureScaled"}, {"class": "TemperatureScaled", "temperature": 2.0, "more": 1}):
        (tmp_path / "a" / "calibration.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match=r"has a damaged calibration.json: .*argument"):
            TemperatureScaled.load(tmp_path / "a")
    (tmp_path / "a" / "calibration.json").write_text(json.dumps({"class": "TemperatureScaled", "temperature": -1.0}))
    with pytest.raises(ValueError, match=r"`temperature` is -1.0: give a number above 0"):
        TemperatureScaled.load(tmp_path / "a")


@each_keras
def test_a_folder_is_empty_again_after_a_failed_save(kit, tmp_path, monkeypatch):
    layers = kit.keras.layers.Input((3,)), kit.keras.layers.Dense(1), kit.heads.Bernoulli()
    made = TemperatureScaled(kit.keras.Sequential(layers), 2.0)

    def broken(path):
        path.write_text("half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(made.model, "save", broken)
    with pytest.raises(KeyboardInterrupt):
        made.save(tmp_path / "a")
    assert not list((tmp_path / "a").iterdir())
    monkeypatch.undo()
    made.save(tmp_path / "a")
    assert TemperatureScaled.load(tmp_path / "a").temperature == 2.0
