"""Training from random weights, and with a penalty during a search."""
