"""Generates pages of the site from code and data: the home page, the reference, families, benchmarks and tutorials."""
