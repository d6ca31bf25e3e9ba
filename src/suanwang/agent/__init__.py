"""The agent: runs at a site, speaks outbound only, ships alone (imports protocol and kernel)."""
