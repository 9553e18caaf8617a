"""The benchmarks of `fastattn bench NAME`, one module each."""
