"""Benchmarks: ``python -m bench`` measures and writes RESULTS.md beside this file.

All traffic stays in network namespaces that the benchmarks make and remove.
"""
