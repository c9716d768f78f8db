"""The sandbox venue: one seeded simulation of trades, quotes and books, spoken in real venues' protocols."""
