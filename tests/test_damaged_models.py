"""A model's file that is damaged is refused in a sentence, or is the model that was saved."""

import io
import zipfile

import numpy as np
import pytest

from nllfit.ensembles import Ensemble
from tests.experiments.test_damaged_files import mutants
from tests.kerases import each_keras


def members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


@each_keras
@pytest.mark.filterwarnings("ignore")  # of Keras, about what is in the files
def test_a_damaged_model_is_refused_or_the_one_that_was_saved(kit, tmp_path, request):
    count = 300 if request.config.getoption("--thorough") else 6  # of the file, and of each of its parts
    model = kit.keras.Sequential([kit.keras.Input((2,)), kit.keras.layers.Dense(2), kit.heads.Normal()])
    Ensemble([model, model.__class__.from_config(model.get_config())]).save(tmp_path)
    path = tmp_path / "member-000.keras"
    whole = path.read_bytes()
    parts = members(whole)
    damaged = [(True, content) for content in mutants(whole, count)]
    for name, part in parts.items():  # whose checksum is right again
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
