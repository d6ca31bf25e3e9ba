"""Double entry: accounts, entries, postings, holds."""
