"""Run-time and waiting-time estimates with calibrated intervals, learned from finished work only.

Pure: no clock, no randomness, no I/O. The control plane keeps the state as bytes and hands back,
with each finished job, the estimate that was given for it (see docs/mechanisms/estimation.md).
"""
