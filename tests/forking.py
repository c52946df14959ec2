"""Processes of their own that are there at once: they fork from one that has loaded the libraries."""

from multiprocessing import get_context

FORKING = get_context("forkserver")
FORKING.set_forkserver_preload(["nas_prune.cli.search", "nas_prune.search.run", "nas_prune.training.run"])
