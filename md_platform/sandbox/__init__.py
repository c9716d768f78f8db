"""The sandbox venue: one seeded simulation of trades, quotes and books, spoken in real venues' protocols.

noise, listings, prices, simulation, book    numbers from (seed, instrument, time); no protocol, no clock, no socket
history, live                                the same as a database, and as a stream; both never past "now"
binance*, coinbase*, kraken*                 a protocol each: requests and subscriptions in, exact payloads out
faults, limits, clock                        what goes wrong on request, what a client may ask, what time it is
connections, server                          the sockets

Protocols know the simulation and not each other (Kraken borrows Coinbase's way to write times). Another one is a REST
class, a session class and a line for each in `server`.
"""
