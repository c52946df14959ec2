"""Networks as few bytes: shared values, gaps between non-zeros, Huffman codes, and the file that holds them."""
