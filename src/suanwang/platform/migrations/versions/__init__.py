"""Revisions of the schema, oldest first. Once released, a revision is never changed."""
