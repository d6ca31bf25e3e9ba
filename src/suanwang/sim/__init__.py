"""The whole platform on a virtual clock, with faults: production code, seeded, replayable."""
