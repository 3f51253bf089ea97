"""Experiments: one script for each question, run as `python -m experiments.NAME`."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no log lines between the output of an experiment

if sys.argv[:1] == ["-m"]:  # `python -m` is about to import an experiment from this package
    from experiments import startup

    startup.begin()
