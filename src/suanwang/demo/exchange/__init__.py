"""A day of the exchange, played on the demo's three sites with a clock that is put forward."""
