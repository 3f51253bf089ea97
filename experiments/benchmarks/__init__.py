"""Benchmarks: times and scores beside other libraries, each run as `python -m experiments.benchmarks.NAME`."""
