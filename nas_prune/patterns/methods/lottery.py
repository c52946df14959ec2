"""Lottery tickets: rounds of training, removing the smallest weights and rewinding the rest (`patterns/rounds.py`)."""

from nas_prune.patterns.methods.contract import PatternMethod
from nas_prune.patterns.methods.magnitude import magnitudes

LOTTERY = PatternMethod(
    name="lottery",
    summary="rounds of training, each from the same early weights without the smallest",
    citation="Frankle and Carbin, The Lottery Ticket Hypothesis, ICLR 2019; rewinding: Frankle et al., ICML 2020",
    scores=magnitudes,
    takes_budgets=False,
    rounds=True,
)
