"""Plain networks of the paper's CIFAR families; nothing in them knows of widths.

Each factory takes `in_channels`, `num_classes` and `image_size`.
"""
