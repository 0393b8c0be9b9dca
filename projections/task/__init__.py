"""The read models of tasks: each with its rows, its `apply` and its queries."""
