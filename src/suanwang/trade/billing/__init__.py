"""Price lists; usage records and their charges; statements."""
