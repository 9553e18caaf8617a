"""The benchmarks of `fastattn bench NAME`: each module has `add_arguments(parser)` and `run(args) -> int`."""
