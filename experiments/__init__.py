"""Experiments: one script for each question, run as `python -m experiments.NAME`."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # so that TensorFlow's log lines do not mix with the output

if sys.argv[:1] == ["-m"]:  # `python -m` is about to import an experiment from this package
    from experiments import startup

    startup.begin()
