"""Experiments: one script for each question, run as `python -m experiments.NAME`."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # so that TensorFlow's log lines do not mix with the output

if sys.argv[:1] == ["-m"]:  # `python -m` runs an experiment, and has imported only this package so far
    from experiments import startup

    startup.begin()
