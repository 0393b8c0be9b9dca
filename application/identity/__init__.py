"""Accounts, sessions and who is asking."""
