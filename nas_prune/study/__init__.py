"""Studies: Optuna samples around a guideline, and the winners are trained from scratch."""
