"""The benchmark: ntfyish beside nchan and beside the bare `send()` loop, in one interleaved run.

Run it as ``python -m bench`` from the repository's root; docs/benchmarks.md says what the figures mean.
"""
