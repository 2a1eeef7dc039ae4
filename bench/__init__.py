"""Benchmarks: each stage alone and end to end, beside a floor of the same run."""
