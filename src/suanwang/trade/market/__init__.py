"""The ways to trade: listings, continuous books, quotations, bilateral deals, call auctions."""
