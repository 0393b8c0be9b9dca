"""The rules: events, states, commands, decide and evolve, one file per aggregate.

Pure: the standard library and msgspec only. Time, ids and the principal come in from outside; nothing here
does input or output, and `evolve` never raises, whatever wrote the history.
"""
