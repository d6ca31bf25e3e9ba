"""Sites, data and jobs: the broker itself."""
