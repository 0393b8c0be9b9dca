"""What stands around every route: who comes in, bodies, answers, refusals."""
