"""Trained networks in the forms that other programs run, checked on real images."""
