"""What a trade becomes: capacity reserved hour by hour, and what of it was delivered."""
