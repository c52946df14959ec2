"""Deep compression (Han et al. 2016): weights that share values, as few bytes, accounted for."""
