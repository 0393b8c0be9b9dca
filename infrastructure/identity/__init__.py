"""Accounts, passwords, tokens and revocations as they are kept."""
