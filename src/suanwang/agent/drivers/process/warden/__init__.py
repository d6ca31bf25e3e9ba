"""The warden: a small process beside the agent that owns the runs' processes.

It is started with `python -I -S` and imports nothing but the standard library, so it starts in
milliseconds, stays small, and does not notice when the agent is killed or upgraded.
"""
