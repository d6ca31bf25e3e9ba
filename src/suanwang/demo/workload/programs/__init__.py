"""What the jobs run: standard library only, but for the training loop."""
