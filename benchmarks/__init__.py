"""Measurements of the path of a message; `make bench` runs all of them and writes docs/performance.md."""
