"""Pictures can be read where they are looked at: by the colour-blind, on both grounds, without overlaps."""

import itertools
import re

import numpy as np
import pytest

from semcom.evaluation.intervals import Interval
from semcom.report import curve_names, figures, look
from semcom.report.look import COLUMN, DARK, LIGHT, PAGE, PHONE, TEXT

pytestmark = pytest.mark.draws

PLACES = (PAGE, PHONE, COLUMN, TEXT)
GREYS = np.full(3, 1.0)


def light(colour):
    """Linear light [3] of ``#rrggbb``."""
    share = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)]) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


# Viénot, Brettel and Mollon 1999: LMS of linear RGB; what a missing cone would say is made of the other two
# so that white and blue (protanopes, deuteranopes) or white and red (tritanopes) stay as they are. The
# palette was chosen by another model (Machado, Oliveira and Fernandes 2009).
TO_LMS = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])


def simulated(missing, colour):
    cones = TO_LMS @ light(colour)
    white, other = TO_LMS @ GREYS, TO_LMS @ np.array([1.0, 0, 0] if missing == 2 else [0, 0, 1.0])
    known = [cone for cone in range(3) if cone != missing]
    weights = np.linalg.solve(
        np.array([white[known], other[known]]), np.array([white[missing], other[missing]])
    )
    cones[missing] = weights @ cones[known]
    return np.clip(np.linalg.inv(TO_LMS) @ cones, 0, 1)


def lab(linear):
    """CIE L*a*b* under D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ linear / (to_xyz @ GREYS)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("ink", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("missing", [None, 0, 1, 2], ids=["all", "protanope", "deuteranope", "tritanope"])
def test_any_two_colours_are_apart_for_every_eye(missing, ink):
    seen = {
        colour: lab(light(colour) if missing is None else simulated(missing, colour))
        for colour in (*ink.colours, ink.strong, ink.faint)
    }
    apart = {pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]) for pair in itertools.combinations(seen, 2)}
    assert min(apart.values()) > 9, min(apart, key=apart.get)


@pytest.mark.parametrize("ink", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_stand_out_from_their_ground(ink):
    def luminance(colour):
        return light(colour) @ np.array([0.2126, 0.7152, 0.0722])

    for colour, wanted in [(ink.strong, 7), (ink.faint, 3), *((colour, 3) for colour in ink.colours)]:
        low, high = sorted([luminance(colour), luminance(ink.ground)])
        assert (high + 0.05) / (low + 0.05) >= wanted, colour
    assert len(set(ink.all)) == len(ink.all), "or a picture cannot be made dark"


def line(*values):
    return [(6.0 * k, Interval(value, value * 0.9, value * 1.1)) for k, value in enumerate(values)]


NAMES = ["teacher", "the same at 1 dB less", *(f"decoder student, T={t}, 1 layer" for t in (1, 2, 4, 8, 16))]
NEAR = {
    "BLEU": {name: line(10, 60, 90 - n / 5) for n, name in enumerate(NAMES)},
    "KL to the teacher, nats a token": {name: line(2, 0.5, 0.1 + n / 500) for n, name in enumerate(NAMES)},
}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_no_text_stands_on_another_nor_leaves_the_picture(place):
    with look.style(place):
        figure = figures.over_snr(NEAR, NAMES[:2], 6.0)(place)
        look.lay_out(figure)
        whole = figure.bbox
        texts = [text for axis in figure.axes for text in (*axis.texts, axis.xaxis.label, axis.yaxis.label)]
        texts += [tick for axis in figure.axes for tick in (*axis.get_xticklabels(), *axis.get_yticklabels())]
        texts += [text for legend in figure.legends for text in legend.get_texts()]
        boxes = {text: text.get_window_extent() for text in texts if text.get_text() and text.get_visible()}
        named = {text.get_text().replace("\n", " ") for text in boxes} & set(NAMES)
    assert len(named) == place.lines
    for text, box in boxes.items():
        if text not in figure.axes[0].get_yticklabels() + figure.axes[-1].get_yticklabels():
            assert whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1, (
                text
            )
    for one, other in itertools.combinations(boxes, 2):
        a, b = boxes[one], boxes[other]
        touch = min(a.x1, b.x1) - max(a.x0, b.x0) > 0.5 and min(a.y1, b.y1) - max(a.y0, b.y0) > 0.5
        assert not touch, (one.get_text(), other.get_text())


def test_names_are_spread_as_near_as_can_be():
    # By hand: three of size 0.2 that want 0.5 stand side by side around it; one at the edge stays inside.
    assert curve_names.spread([0.5, 0.5, 0.5], [0.2] * 3) == pytest.approx([0.7, 0.5, 0.3])
    assert curve_names.spread([1.0, 0.1], [0.2, 0.1]) == pytest.approx([0.9, 0.1])
    assert curve_names.spread([0.5, 0.55], [0.1, 0.1]) == pytest.approx([0.475, 0.575])


def test_axes_stay_within_the_range_of_a_share_or_score():
    values = {"BLEU": (60, 85, 90.5), "a share": (0.2, 0.8, 0.9), "gap": (-1, 2, 5)}
    panels = {title: {"a": line(*of_one)} for title, of_one in values.items()}
    bleu, share, gap = (axis.get_ylim() for axis in figures.curves(panels)(PAGE).axes)
    assert bleu[1] == 100 and share == (0, 1) and gap[0] < -1.1 and gap[1] > 5.5


def test_panels_of_one_label_have_one_scale():
    panels = {"a": {"x": line(1, 2)}, "b": {"x": line(5, 9)}}
    first, second = figures.effects(panels, "effect on BLEU")(PAGE).axes
    assert first.get_ylim() == second.get_ylim() and first.get_title() == "a"


def test_dark_pictures_are_those_drawn_in_the_dark():
    draw = figures.over_snr(NEAR, NAMES[:2], 6.0)
    made = look.files("near", draw)
    assert list(made) == look.file_names("near")
    (drawn,) = look.pictures(draw, PHONE.in_the_dark(), "svg")

    def colours(svg):
        return re.findall(rb"#[0-9a-f]{6}", svg)

    assert colours(made["near-phone-dark.svg"]) == colours(drawn)
    assert not set(colours(drawn)) & {colour.encode() for colour in LIGHT.all}
    assert made["near.svg"] == look.pictures(draw, PAGE, "svg")[0]
    assert look.pixels(made["near.svg"])[0] == 720


@pytest.mark.parametrize(
    ("curves", "told"), [(4, ""), (6, "narrow screen 4 of 6"), (9, "6 of 9, on a narrow screen 4")]
)
def test_a_caption_says_what_is_left_out(curves, told):
    said = figures.left_out({"KL": {str(n): n for n in range(curves)}}, str)
    assert told in said and bool(told) == bool(said)
