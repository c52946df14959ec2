"""What tells a study how good widths are without training them; its weights are thrown away."""
