"""Calibration corrects predicted probabilities. The corrections are learned on held-out rows."""

from nllfit.calibration.conformal import Conformalized, conformalize
from nllfit.calibration.recalibration import Recalibrated, recalibrate
from nllfit.calibration.temperature import TemperatureScaled, scale_temperature

__all__ = ["Conformalized", "Recalibrated", "TemperatureScaled", "conformalize", "recalibrate", "scale_temperature"]
