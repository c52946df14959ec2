"""Networks, what may be narrowed in them, what that costs, and widths."""
