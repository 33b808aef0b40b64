"""Files of weights that ``torch.save`` did not write: read where that is safe, else told by what they are."""

import os
import stat
import zipfile
from pathlib import Path

from torch import Tensor

from semcom.base.advice import meant_path
from semcom.base.errors import SemcomError, escape
from semcom.models.archive import is_zip

CURE = "save it with: torch.save(model.state_dict(), FILE)"
MAGIC = {
    b"\x89HDF": "an HDF5 file, as Keras writes it; only weights of PyTorch can be imported",
    b"PK\5\6": "an empty zip archive; give the .pth file itself",
    b"\x1f\x8b": "compressed by gzip; unpack it first: gunzip FILE",
    b"\xfd7zXZ": "compressed by xz; unpack it first: unxz FILE",
    b"BZh": "compressed by bzip2; unpack it first: bunzip2 FILE",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it first: unzstd FILE",
    b"Rar!": "a RAR archive; unpack it and give the .pth file inside",
    b"7z\xbc\xaf": "a 7z archive; unpack it and give the .pth file inside",
    b"%PDF": "a PDF document; give the .pth file",
    b"\x93NUMPY": f"a numpy array, not a model; {CURE}",
    b"version https://git-lfs": "a pointer of git LFS, not the file itself; fetch it with: git lfs pull",
    b"<!DOCTYPE": "a web page, not the file itself; download it again",
    b"<html": "a web page, not the file itself; download it again",
}
"""How files begin -> what they are."""
SHARDS = ("*.index.json", "*.distcp", "*.metadata", "mp_rank_*", "zero_pp_rank_*", "global_step*")
"""Files of a model that lies in parts, in its folder."""


def check(path: Path, where: str) -> None:
    """Raise SemcomError for what is no file, or one that cannot hold weights of torch."""
    if path.is_dir():
        raise SemcomError(f"{where}: {_of_folder(path)}")
    if not path.exists():
        raise SemcomError(f"{where}: no such file{meant_path(path)}")
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise SemcomError(f"{where}: is no regular file; copy what it gives into a file first")
    try:
        with path.open("rb") as file:
            beginning = file.read(32)
    except OSError as error:
        raise SemcomError(f"{where}: cannot be read ({error.strerror})") from None
    if not beginning:
        raise SemcomError(f"{where}: the file is empty; copy it again")
    for magic, what in MAGIC.items():
        if beginning.startswith(magic):
            raise SemcomError(f"{where}: {what}")
    if is_zip(path):
        _check_archive(path, where)
    elif beginning.startswith(b"PK\3\4"):
        raise SemcomError(f"{where}: truncated, its end is missing; copy it again")


def _of_folder(path: Path) -> str:
    if any(next(path.glob(pattern), None) for pattern in SHARDS):
        return (
            "is a folder with a model in parts; load it with the code that wrote it, and save it whole: "
            "torch.save(model.state_dict(), FILE)"
        )
    return "is a folder, give the file inside"


def _check_archive(path: Path, where: str) -> None:
    """Raise SemcomError for an archive of something else than ``torch.save``."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return  # said where it is read
    if any(name.endswith("/constants.pkl") for name in names):
        raise SemcomError(
            f"{where}: a TorchScript program; save its weights with: "
            "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
        )
    weights = [name for name in names if name.endswith((".pth", ".pt", ".bin", ".ckpt"))]
    if weights and not any(name.endswith("/data.pkl") for name in names):
        raise SemcomError(
            f"{where}: a zip archive; unpack it and give the file inside: {escape(weights[0])[:100]}"
        )


def is_safetensors(path: Path) -> bool:
    """Whether it begins as such a file: the length of a head in JSON, and that."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return 2 <= length <= path.stat().st_size - 8 and file.read(1) == b"{"


def read_safetensors(path: Path, where: str) -> dict[str, Tensor]:
    """Tensors by name; such a file holds nothing else."""
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise SemcomError(
            f"{where}: a safetensors file, which needs an extra: pip install safetensors; or save it with: "
            "torch.save(safetensors.torch.load_file(FILE), 'weights.pth')"
        ) from None
    return load_file(path)
