"""What every run directory shares: files, settings, progress, stopping, worker processes, pictures."""
