"""Loading a damaged model file succeeds, or raises a `TypeError` or a `ValueError`."""

import io
import zipfile

import keras
import numpy as np
import pytest

from nllfit.ensembles import Ensemble
from tests.experiments.test_damaged_files import mutants
from tests.keras_versions import mainly


def members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


@mainly(keras)
def test_a_weight_that_the_disk_changed_is_noticed(kit, tmp_path):
    model = kit.keras.Sequential([kit.keras.Input((2,)), kit.keras.layers.Dense(2), kit.heads.Normal()])
    weight = np.float32(0.7261038)
    model.set_weights([np.full([2, 2], weight), np.zeros(2)])
    Ensemble([model]).save(tmp_path)
    path = tmp_path / "member-000.keras"
    content = path.read_bytes()
    assert content.count(weight.tobytes()) == 4
    path.write_bytes(content.replace(weight.tobytes(), np.float32(0.5).tobytes(), 1))
    with pytest.raises(ValueError, match=r"not a complete \.keras file.*the checksum of model.weights.h5 is wrong"):
        Ensemble.load(tmp_path)


@mainly(keras)
@pytest.mark.parametrize("count", [6, pytest.param(100, marks=pytest.mark.thorough)])
@pytest.mark.filterwarnings("ignore")  # Keras warns about the contents of the files
def test_a_damaged_model_file_is_refused_or_harmless(kit, count, tmp_path):
    """Damages the file in `count` ways, then each part of the ZIP file in `count` ways.

    The weights of a model that loads may differ only in one case: the damage is in the part that contains the weights,
    and the checksum of this part was computed after the damage.
    """
    model = kit.keras.Sequential([kit.keras.Input((2,)), kit.keras.layers.Dense(2), kit.heads.Normal()])
    Ensemble([model, model.__class__.from_config(model.get_config())]).save(tmp_path)
    path = tmp_path / "member-000.keras"
    whole = path.read_bytes()
    parts = members(whole)
    damaged = [(True, content) for content in mutants(whole, count)]
    for name, part in parts.items():  # the checksums are computed after the damage
        damaged += [(name != "model.weights.h5", zipped(parts | {name: content})) for content in mutants(part, count)]
    refused = 0
    for same, content in damaged:
        path.write_bytes(content)
        try:
            loaded = Ensemble.load(tmp_path).models[0]
        except (TypeError, ValueError):
            refused += 1
        else:
            weights = loaded.get_weights()
            assert not same or all(map(np.array_equal, weights, model.get_weights()))
    assert refused > count
