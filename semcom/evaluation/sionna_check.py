"""The physical figures of Sionna, an independent link-level simulator (https://nvlabs.github.io/sionna), to
stand beside ours.

Optional: pip install .[phy], PyTorch since its 2.0. Only its AWGN and Rayleigh block fading are used, by way
of the public interface.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

import torch

from semcom.base.errors import escape
from semcom.channel.gains import RicianPower
from semcom.evaluation.link_checks import Check, Sent, gain_checks, snr_check

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
