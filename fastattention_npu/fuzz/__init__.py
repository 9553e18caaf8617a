"""The fuzzer behind scripts/fuzz: random problems on the simulator (and the host) with all checks on, against float64.

problems (legal ones, as shape files) and faults (illegal calls) -> judge (one case, in this process) -> pool (worker
processes with a time limit, so that a crash or a hang is a finding) -> shrink (the smallest case that still fails).
"""
