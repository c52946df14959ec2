"""The network as coupled channels."""
