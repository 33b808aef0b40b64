"""The physical figures of Sionna, an independent link-level simulator (https://nvlabs.github.io/sionna), to
stand beside ours.

Optional: pip install .[phy], PyTorch since its 2.0. Only its AWGN, Rayleigh block fading and delay lines are
used, by way of the public interface.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

import torch

from semcom.base.errors import escape
from semcom.channel.doppler import SPEED_OF_LIGHT, jakes
from semcom.channel.fading import Scattered
from semcom.channel.gains import RicianPower
from semcom.channel.settings import JAKES_SPEED
from semcom.channel.tdl import TDL
from semcom.evaluation.gain_checks import APART, NARROW, correlation, delay_spread, moving_name
from semcom.evaluation.link_checks import Check, Sent, gain_checks, snr_check

SINUSOIDS = 50
"""Of which Sionna makes a tap; a sum of fewer is not Gaussian to the tests here."""
MOVING = 2000
"""Sentences under way, at most."""
INSTALL = "install it with: pip install .[phy]"


def available() -> str | None:
    """None where Sionna of PyTorch can be imported, else the reason and its remedy in a line."""
    try:
        if find_spec("sionna") is None or find_spec("sionna.phy") is None:
            return (
                "Sionna, an independent simulator, is not installed, so nothing stands beside these figures; "
                + INSTALL
            )
        if int(version().partition(".")[0]) < 2:
            return f"Sionna {escape(version())} is not made of PyTorch; {INSTALL}"
        # To import it seeds torch's global generator, which is the user's.
        with torch.random.fork_rng(devices=[]):
            import_module("sionna.phy.channel")
    except (ImportError, ValueError) as error:
        return f"Sionna cannot be imported ({escape(str(error)[:100])}); {INSTALL}"
    return None


def version() -> str:
    return str(getattr(import_module("sionna"), "__version__", "0"))


def measure(sent: Sequence[Sent], snrs: Sequence[float], draws: int, seed: int) -> dict[str, Check]:
    """Name, as in ``link_checks`` -> check: realised SNR of AWGN and Rayleigh at each SNR with the same
    signals, and Rayleigh's gains."""
    from sionna.phy import config
    from sionna.phy.channel import AWGN, RayleighBlockFading

    found: dict[str, Check] = {}
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        config.seed = seed
        add_noise, fade = AWGN(device="cpu"), RayleighBlockFading(1, 1, 1, 1, device="cpu")
        symbols = sum(s.symbols for s in sent)
        energy = sum(float(s.signal.double().square().sum()) for s in sent)
        for kind in ("awgn", "rayleigh"):
            for snr in snrs:
                noise = 0.0
                for s in sent:
                    x = torch.view_as_complex(s.signal.float().unflatten(-1, (-1, 2)).contiguous())
                    if kind == "rayleigh":
                        x = x * fade(len(x), 1)[0].reshape(-1, 1, 1)
                    error = (add_noise(x, 10 ** (-snr / 10)) - x).abs().double().square().sum(-1)
                    noise += float((error * s.batch.source_mask).sum())
                check = snr_check(f"{kind}, {snr:g} dB", energy, noise, symbols, snr)
                found[check.name] = check
        powers = fade(draws, 1)[0].flatten().abs().double().square().numpy()
        gains = gain_checks("rayleigh", powers, RicianPower(0.0, "1-e^-x"))
    return found | {check.name: check for check in (gains.power, gains.distance)}


def has_delay_lines() -> bool:
    try:
        return find_spec("sionna.phy.channel.tr38901") is not None
    except ImportError:
        return False


def delay_lines(lines: Sequence[TDL], draws: int, seed: int) -> dict[str, Check]:
    """Name, as in ``link_checks`` and ``gain_checks`` -> check of Sionna's own delay lines: the gain of a
    subcarrier, and the delay spread."""
    from sionna.phy import config
    from sionna.phy.channel.tr38901 import TDL as Theirs

    found: dict[str, Check] = {}
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        config.seed = seed
        for ours in lines:
            letter, spread = ours.name[-1].upper(), ours.delay_spread * 1e-9
            line = Theirs(letter, spread, 3.5e9, num_sinusoids=SINUSOIDS, device="cpu")
            paths, delays = line(draws, 1, 1.0)
            paths, delays = paths.reshape(draws, -1), delays.reshape(draws, -1)[0]
            turned = paths * torch.exp(-2j * torch.pi * NARROW * 1e3 * delays)
            first, second = paths.sum(1), turned.sum(1)
            law = RicianPower(ours.profile.k)
            gains = gain_checks(ours.name, first.abs().double().square().numpy(), law)
            checks = [gains.power, gains.distance]
            if ours.profile.line_of_sight == 0 and spread > 0:  # its phase is random there
                name = f"{ours.name} delay spread, ns"
                ends = first.numpy(), second.numpy()
                checks.append(delay_spread(name, *ends, ours.profile, ours.delay_spread))
            found |= {check.name: check for check in checks}
    return found


def moving(ours: Scattered, draws: int, seed: int) -> dict[str, Check]:
    """The same of Sionna's gains under way, those of jakes fading here: all taps of a delay line as one."""
    from sionna.phy import config
    from sionna.phy.channel.tr38901 import TDL as Theirs

    carrier, speed = ours.carrier * 1e9, JAKES_SPEED / 3.6
    step = APART[1]
    a_symbol = ours.shift / (speed * carrier / SPEED_OF_LIGHT)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        config.seed = seed
        line = Theirs("A", 0.0, carrier, num_sinusoids=SINUSOIDS, min_speed=speed, device="cpu")
        paths, _ = line(min(draws, MOVING), APART[-1] // step + 1, 1 / (step * a_symbol))
        h = paths.sum(-2).reshape(len(paths), -1).numpy()
    theory = jakes(APART[-1] + 1, ours.shift)
    checks = [
        correlation(moving_name(ours, "jakes", lag), h[:, 0], h[:, lag // step], 1.0, float(theory[lag]))
        for lag in APART[1:]
    ]
    return {check.name: check for check in checks}
