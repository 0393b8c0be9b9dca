"""The write side's use cases: load, authorise, decide, append; accounts; ticket import.

Knows the domain and its own ports, never an adapter and never the read side.
"""
