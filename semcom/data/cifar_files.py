"""The binary files of CIFAR-10 and CIFAR-100 (Krizhevsky 2009), told by the size of their records.

A record is one byte a label and 3 x 32 x 32 bytes of an image, channel by channel. Nothing is unpickled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from semcom.base.errors import SemcomError, shown
from semcom.data.image_sets import SIDE, ImageSet

PIXELS = 3 * SIDE * SIDE
MOST_RECORDS = 200_000
"""Of all files: three times as many as there are."""
LONGEST_NAMES = 100_000
"""Bytes of the file that names the classes."""
PICKLED = ("data_batch_1", "test_batch", "train", "test", "meta", "batches.meta")


@dataclass(frozen=True)
class Kind:
    """classes: how many values each label of a record has; the last label is the image's class. names: the
    file that lists them."""

    name: str
    classes: tuple[int, ...]
    names: str

    @property
    def record(self) -> int:
        """Bytes."""
        return len(self.classes) + PIXELS


CIFAR_10 = Kind("CIFAR-10", (10,), "batches.meta.txt")
CIFAR_100 = Kind("CIFAR-100", (20, 100), "fine_label_names.txt")
KINDS = (CIFAR_10, CIFAR_100)


def are_in(folder: Path) -> bool:
    return bool(_files(folder))


def _files(folder: Path) -> list[Path]:
    """Those of images, by name."""
    return sorted(path for path in folder.glob("*.bin") if path.is_file())


def holds_pickles(folder: Path) -> bool:
    """Whether these are the same images as Python's pickles."""
    return any((folder / name).is_file() for name in PICKLED)


def read(folder: Path) -> tuple[ImageSet, ImageSet | None, tuple[str, ...], str]:
    """Images to train and to test, names of classes, and the source in words. A file whose name begins with
    ``test`` is for testing; where there is none, None. Raises SemcomError for a file of another size or with
    labels that there are not."""
    files = _files(folder)
    _check_number(folder, files)
    kind = _kind_of(files)
    train = [path for path in files if not path.name.startswith("test")]
    test = [path for path in files if path.name.startswith("test")]
    if not train:
        raise SemcomError(
            f"--images {shown(folder)}: holds {shown(test[0].name)} alone; put the files of the training "
            "images beside it"
        )
    names = _names(folder, kind)
    return (
        _joined(train, kind),
        _joined(test, kind) if test else None,
        names,
        f"{kind.name} of {shown(folder)}",
    )


def _check_number(folder: Path, files: Sequence[Path]) -> None:
    size = sum(path.stat().st_size for path in files)
    if size > MOST_RECORDS * CIFAR_100.record:
        raise SemcomError(
            f"--images {shown(folder)}: its .bin files have {size:,} bytes, more than {MOST_RECORDS:,} "
            "images of 32 x 32 pixels; give the folder of CIFAR's binary files"
        )


def _kind_of(files: Sequence[Path]) -> Kind:
    """The one of whose records all files are made."""
    fitting = {kind: [path for path in files if _is_made_of(path, kind)] for kind in KINDS}
    for kind, paths in fitting.items():
        if len(paths) == len(files):
            return kind
    wrong = next(path for path in files if path not in max(fitting.values(), key=len))
    raise SemcomError(
        f"--images {shown(wrong)}: {wrong.stat().st_size:,} bytes are no whole number of records of "
        f"{CIFAR_10.record:,} bytes (CIFAR-10) or {CIFAR_100.record:,} (CIFAR-100), as of the files beside "
        "it; unpack the binary version anew"
    )


def _is_made_of(path: Path, kind: Kind) -> bool:
    size = path.stat().st_size
    return size > 0 and size % kind.record == 0


def _joined(paths: Sequence[Path], kind: Kind) -> ImageSet:
    records = np.concatenate([_records(path, kind) for path in paths])
    labels, pixels = records[:, : len(kind.classes)], records[:, len(kind.classes) :]
    images = torch.from_numpy(np.ascontiguousarray(pixels)).reshape(-1, 3, SIDE, SIDE)
    return ImageSet(images, torch.from_numpy(labels[:, -1].astype(np.int64)))


def _records(path: Path, kind: Kind) -> np.ndarray:
    records = np.fromfile(path, dtype=np.uint8).reshape(-1, kind.record)
    for column, classes in enumerate(kind.classes):
        highest = int(records[:, column].max())
        if highest >= classes:
            raise SemcomError(
                f"--images {shown(path)}: holds the label {highest}, {kind.name} has 0 to {classes - 1}; "
                "unpack the binary version anew"
            )
    return records


def _names(folder: Path, kind: Kind) -> tuple[str, ...]:
    """As the file beside the images lists them, else numbers."""
    number = kind.classes[-1]
    try:
        with (folder / kind.names).open("rb") as file:
            lines = file.read(LONGEST_NAMES).decode("utf-8", "replace").split("\n")
    except OSError:
        lines = []
    listed = [shown(line.strip()) for line in lines if line.strip()]
    if len(listed) == number:
        return tuple(listed)
    return tuple(f"class {label}" for label in range(number))
