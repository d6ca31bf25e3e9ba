"""Matching: what is bought from whom at which price. Pure; knows no database and no clock.

call_auction.clear(book, effort) -> Clearing         one round of the day-ahead call auction
order_book.OrderBook(terms).place(order…) -> Placed  the continuous book of one product
"""
