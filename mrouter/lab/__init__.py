"""The whole network in namespaces on one machine, for the demo, the tests and the benchmarks."""
