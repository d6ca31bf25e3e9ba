"""Public programmes as data: who gets what share of which price, and out of which budget."""
