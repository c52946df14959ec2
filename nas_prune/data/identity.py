"""What tells one set of images from another: by the images, or by their labels alone."""

from hashlib import blake2b

from nas_prune.data.images import ImageData, ImageSet

_LOOKED_AT = 200  # images of each part


def identity_of(data: ImageData) -> str:
    """What tells one set of images from another: their classes in order, and of those in memory the first ones."""
    digest = blake2b(digest_size=8)
    for part in (data.train, data.val):
        digest.update(part.labels.cpu().numpy().tobytes())
        if isinstance(part, ImageSet):
            digest.update(part.images[:_LOOKED_AT].cpu().numpy().tobytes())
    return f"{len(data.train)} + {len(data.val)}, {digest.hexdigest()}"


def identity_of_labels(data: ImageData) -> str:
    """What tells one set of images from another by labels alone, as checkpoints note it."""
    labels = b"".join(part.labels.cpu().numpy().tobytes() for part in (data.train, data.val))
    return f"{len(data.train)} + {len(data.val)} ({blake2b(labels, digest_size=6).hexdigest()})"
