"""Files that version 0.1.0 saved, of every named head in both Kerases, load and give the same numbers."""

import io
import json
import pathlib
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from tests.kerases import KITS

ARCHIVE = zipfile.ZipFile(
    io.BytesIO(pathlib.Path(__file__).with_name("data").joinpath("saved_by_0.1.0.zip").read_bytes())
)
KNOWN = json.loads(ARCHIVE.read("known.json"))
LATER = {"Censored", "DistributionLambda", "Hurdle", "Truncated", "ZeroInflated"}  # heads that came after that version
KIT_OF = {kit.keras.__name__: kit for kit in KITS}


def test_every_named_head_was_saved_by_both_kerases():
    for kit in KITS:
        prefix = f"{kit.keras.__name__}-"
        saved = {key[len(prefix) :].partition("-")[0] for key in KNOWN["models"] if key.startswith(prefix)}
        assert saved == set(kit.heads.__all__) - {"DistributionHead"} - LATER


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("key", KNOWN["models"])
def test_a_saved_head_gives_the_numbers_it_gave(key, suffix, tmp_path):
    kit, known = KIT_OF[key.partition("-")[0]], KNOWN["models"][key]
    path = ARCHIVE.extract(f"{key}.{suffix}", tmp_path)
    model = kit.keras.models.load_model(path, safe_mode=True)
    output = model(np.array(KNOWN["x"], "float32"))
    log_prob = kit.distribution(output).log_prob(np.array(known["y"])).numpy()
    # Identical on the machine that saved them; another processor's vector instructions round other last bits.
    np.testing.assert_allclose(log_prob, known["log_prob"], rtol=2e-6)
    np.testing.assert_allclose(tf.convert_to_tensor(output), known["prediction"], rtol=2e-6, atol=1e-7)
