"""The newcomer's first minutes: three sites, real jobs, checked answers, the bill.

Run as `python -m suanwang.demo`. It speaks HTTP to the platform like any user's program.
"""
