"""The project: a place for tasks with a key of its own, from which its tasks take their names (`PRJ-123`).

A project is one stream. Two rules reach beyond it, and each is a boundary: a key belongs to whoever had it first in its
workspace, for ever, so that old names keep leading where they led; and an archived or deleted project takes no commands for
its tasks.
"""
