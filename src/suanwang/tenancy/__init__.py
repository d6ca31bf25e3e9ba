"""Who may do what: organisations, projects, users, roles, tokens, sessions, and the audit log."""
