"""The read model of everything that happens, in order, for those who follow or look back."""
