"""Benchmarks: each is one command that prints a table and writes JSON; `python -m experiments.bench` runs them all."""
