"""Hostile input: each target takes any bytes and must raise nothing; what it raises is a finding.

`fuzz/targets/` holds the targets, `fuzz/mutations.py` damages valid input, and two drivers share both: `tests/fuzz` (in
`make test`, bounded by hypothesis) and `python -m fuzz` (`make fuzz`, guided by coverage, for as long as it is given).
"""
