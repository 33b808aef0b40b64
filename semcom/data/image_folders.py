"""Folders of images, one subfolder a class: found, decoded, made 32 x 32."""

import os
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from semcom.base.advice import meant_path
from semcom.base.errors import SemcomError, shown
from semcom.base.progress import Progress
from semcom.data import cifar_files
from semcom.data.image_sets import SIDE, ImageSet

TRAIN = "train"
TEST = ("test", "val", "valid", "validation")
"""Names of the folder of test images; the first that is there counts."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""None of those that start another program."""
MOST_IMAGES = 200_000
GREY = ("1", "L", "LA", "La")
DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
"""Modes of 16 bits a pixel."""
NO_LEVELS = ("I", "F")
"""Modes whose numbers do not say what is white."""
UNSEEN = ("thumbs.db", "desktop.ini")
"""What systems leave in folders, beside files that begin with a dot."""
SECONDS_UNSHOWN = 1.0
EXPECTED = "give a folder with one subfolder a class, or with train/ and test/ of such"

Found = dict[str, list[Path]]
"""Class -> its files, in the order of names."""


def folder_of(source: str) -> Path:
    """The folder. Raises SemcomError for what is none."""
    folder = Path(source)
    given = f"--images {shown(source) or repr(source)}"
    if not source.strip():
        raise SemcomError(f"{given}: an empty name; {EXPECTED}")
    try:
        if folder.is_dir():
            return folder
        is_there = folder.exists()
    except (OSError, ValueError) as error:
        raise SemcomError(f"{given}: cannot be read ({_reason(error)}); {EXPECTED}") from None
    if is_there:
        raise SemcomError(f"{given}: is a file; unpack it where it is an archive, and {EXPECTED}")
    raise SemcomError(f"{given}: no such folder{meant_path(source)}; {EXPECTED}")


def read(folder: Path) -> tuple[ImageSet, ImageSet | None, tuple[str, ...], str]:
    """Images to train and to test, names of classes, and the source in words; no images to test where the
    folder does not say which those are. Raises SemcomError that names the file which is no image."""
    train_folder, test_folder = _parts(folder)
    train = _found(train_folder, fewest=2, most=MOST_IMAGES)
    test = _found(test_folder, fewest=1, most=MOST_IMAGES - len(_paths(train))) if test_folder else {}
    strange = sorted(set(test) - set(train))
    if strange:
        raise SemcomError(
            f"--images {shown(test_folder)}: the class {shown(strange[0])!r} is not in "
            f"{shown(train_folder.name)}/ beside it; add it there, or take it out here"
        )
    if test_folder is None:
        _check_two_of_each(folder, train)
    names = list(train)
    train_images, test_images = _decoded([*_paths(train), *_paths(test)], len(_paths(train)))
    train_set = ImageSet(train_images, _classes(train, names))
    test_set = ImageSet(test_images, _classes(test, names)) if test_folder else None
    number = len(train_images) + len(test_images)
    return train_set, test_set, tuple(map(shown, names)), f"{number:,} images of {shown(folder)}"


def _paths(found: Found) -> list[Path]:
    return [path for paths in found.values() for path in paths]


def _classes(found: Found, names: Sequence[str]) -> Tensor:
    numbers = [names.index(name) for name, paths in found.items() for _ in paths]
    return torch.tensor(numbers, dtype=torch.int64)


# --- files


def _parts(folder: Path) -> tuple[Path, Path | None]:
    """The folders of images to train and to test. A class may be called train: it then has no folders."""
    inside = {path.name.lower(): path for path in _folders(folder)}
    train = inside.get(TRAIN)
    test = next((inside[name] for name in TEST if name in inside), None)
    if train is None or not _folders(train):
        return folder, None
    return train, test


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, by name, but for what systems leave there."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise SemcomError(f"--images {shown(folder)}: cannot be read ({_reason(error)})") from None
    return [path for path in paths if path.name[0] != "." and path.name.lower() not in UNSEEN]


def _found(folder: Path, fewest: int, most: int) -> Found:
    """The files of each class; those in folders below it are its own too. fewest: classes. most: files."""
    classes = _folders(folder)
    if len(classes) < fewest:
        given = f"--images {shown(folder)}"
        if cifar_files.holds_pickles(folder):
            raise SemcomError(
                f"{given}: CIFAR as Python's pickles, which are not read; give the binary version "
                "(cifar-10-binary.tar.gz or cifar-100-binary.tar.gz), unpacked"
            )
        there = f"one subfolder, {shown(classes[0].name)!r}" if classes else "no subfolder"
        raise SemcomError(f"{given}: holds {there}, and a class is a subfolder; {EXPECTED}")
    found: Found = {}
    for each in classes:
        left = most - len(_paths(found))
        found[each.name] = list(islice(_files_below(each), left + 1))
        if len(found[each.name]) > left:
            raise SemcomError(
                f"--images {shown(folder)}: more than {MOST_IMAGES:,} images, and {MOST_IMAGES:,} at most "
                "are read; give fewer"
            )
    empty = [name for name, paths in found.items() if not paths]
    if empty:
        raise SemcomError(
            f"--images {shown(folder / empty[0])}: holds no image; put some there, or remove the folder"
        )
    return found


def _files_below(folder: Path) -> Iterator[Path]:
    to_see = _entries(folder)[::-1]
    while to_see:
        path = to_see.pop()
        if path.is_dir() and not path.is_symlink():
            to_see += _entries(path)[::-1]
        elif path.is_file():
            yield path
        else:
            raise _no_image(path, "is no file")


def _check_two_of_each(folder: Path, found: Found) -> None:
    alone = [name for name, paths in found.items() if len(paths) < 2]
    if alone:
        raise SemcomError(
            f"--images {shown(folder)}: the class {shown(alone[0])!r} has one image, and two are needed, to "
            "train and to test; add some, or remove the folder"
        )


# --- pixels


def _decoded(paths: Sequence[Path], first: int) -> tuple[Tensor, Tensor]:
    """Pixels [N, C, 32, 32] of the ``first`` files and of the others: of one channel if all are grey."""
    images = []
    with Progress(len(paths), "reading, images", quiet=False, delay=SECONDS_UNSHOWN) as progress:
        for path in paths:
            images.append(_image(path))
            progress.advance()
    channels = max(len(image) for image in images)
    pixels = np.stack([np.broadcast_to(image, (channels, SIDE, SIDE)) for image in images])
    decoded = torch.from_numpy(pixels)
    return decoded[:first], decoded[first:]


def _image(path: Path) -> np.ndarray:
    """uint8 [1, 32, 32] of a grey image, [3, 32, 32] of a coloured one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                return _pixels(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _no_image(path, f"has over {Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise _no_image(path, f"is no image of a kind that is read ({', '.join(FORMATS)})") from None
    except _NoLevels as error:
        raise _no_image(path, str(error)) from None
    # Of a damaged file each reader raises what it stumbles over.
    except Exception as error:
        raise _no_image(path, f"cannot be read ({_reason(error)})") from None


class _NoLevels(Exception):
    """Pixels whose numbers do not say what is white."""


def _pixels(image: Image.Image) -> np.ndarray:
    """Turned as its camera says, on white where it is transparent, the whole of it drawn in 32 x 32."""
    image.draft(None, (4 * SIDE, 4 * SIDE))  # a large JPEG is decoded at a fraction of its size
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in DEEP:
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in NO_LEVELS:
        raise _NoLevels(f"has pixels of mode {image.mode}, whose white is not known; save it with 8 bits")
    mode, is_clear = "L" if image.mode in GREY else "RGB", image.has_transparency_data
    # Small as soon as may be: a copy of the largest picture that is read takes 360 MB.
    resized_in = {"L": "LA", "RGB": "RGBA"}[mode] if is_clear else mode
    if image.mode != resized_in:
        image = image.convert(resized_in)
    drawn = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    if is_clear:
        white = Image.new("RGBA", drawn.size, "white")
        drawn = Image.alpha_composite(white, drawn.convert("RGBA")).convert(mode)
    return np.asarray(drawn).reshape(SIDE, SIDE, -1).transpose(2, 0, 1)


def _no_image(path: Path, what: str) -> SemcomError:
    return SemcomError(f"--images {shown(path)}: {what}; give images, or take it out of the folder")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return shown(error or type(error).__name__)
