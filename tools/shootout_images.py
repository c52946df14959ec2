"""The images of a shoot-out: parts of folders, so that nothing that chooses can see a test image."""

import random
import shutil
from pathlib import Path

from nas_prune.errors import BadInputError
from tools.shootout_plan import FINAL, SEARCHED, Images

HALVES = ("first", "second")


def make_images(
    images: Images, source: Path, out: Path, seed: int, half: str, *, is_pilot: bool = False
) -> None:
    """Divide the images of a folder, once: what searches see, and what the last training sees and is tested on.

    The test images are halved by the seed; only the half that a plan reads is there. Searches and studies have the
    same training images and a test part of others, since they read one.

    Args:
        images: how many of each.
        source: a folder with `train/CLASS/*` and `test/CLASS/*`.
        out: where the parts go.
        seed: of the choice.
        half: which half of the test images.
        is_pilot: whether spare images are measured on, so that none may be trained with.
    """
    done, made = out / "done", f"{source.name}, seed {seed}, {half} half\n"
    if done.exists():
        if done.read_text(encoding="utf-8") != made:
            raise BadInputError(
                f"{out} must hold the {half} half of {source.name} for seed {seed}, got another. Take another --out."
            )
        return
    shutil.rmtree(out, ignore_errors=True)
    rng = random.Random(seed)  # noqa: S311  (not for secrets)
    train, test = (_drawn(source / part, rng) for part in ("train", "test"))
    pooled = images.test > len(test)  # too few: more of them are taken from the training part
    if pooled:
        more = images.test - len(test)
        train, test = train[:-more], test + train[-more:]
    if len(train) < images.train:
        raise BadInputError(f"{source} must have {images.train} images to train with, got {len(train)}.")
    test = test[: images.test]
    rng.shuffle(test)
    own = {name: test[place::2] for place, name in enumerate(HALVES)}[half]
    spare = train[images.train :][: images.spare]
    if is_pilot and len(spare) < images.spare:
        raise BadInputError(f"{source} must have {images.spare} spare images for a pilot, got {len(spare)}.")
    spare = spare or train[: images.spare]
    for part, shown in ((SEARCHED, spare), (FINAL, own)):
        _copied(train[: images.train], out / part / "train")
        _copied(shown, out / part / "test")
    done.write_text(made, encoding="utf-8")


def half_in(folder: Path) -> str:
    """Which half of the test images `make_images` has put there."""
    return (folder / "done").read_text(encoding="utf-8").split()[-2]


def _drawn(folder: Path, rng: random.Random) -> list[Path]:
    """All images of a part in random order, the classes in turn."""
    classes = []
    for home in sorted(one for one in folder.iterdir() if one.is_dir()):
        own = sorted(home.iterdir())
        rng.shuffle(own)
        classes.append(own)
    longest = max(map(len, classes))
    return [own[place] for place in range(longest) for own in classes if place < len(own)]


def _copied(paths: list[Path], folder: Path) -> None:
    for path in paths:
        home = folder / path.parent.name
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, home / f"{path.parent.parent.name}-{path.name}")
