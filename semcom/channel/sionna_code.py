"""Sionna's blocks that the coded link is made of: CRC, 5G LDPC, QAM (https://nvlabs.github.io/sionna).

Optional: pip install .[phy]. Sionna's LDPC blocks are made once for each mother code, not for each size.
"""

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from semcom.base.errors import SemcomError, escape
from semcom.channel.ts38212 import MotherCode

ROUNDS, ITERATIONS = 5, 10
"""Of belief propagation (flooding): up to 50, the CRC looked at after every 10."""
DEMAPPING = "app"
"""Log-likelihood ratios by sums over all points of the constellation, not by its nearest points."""


def require() -> None:
    """Raises SemcomError, a line that says how to get it, where Sionna of PyTorch cannot be imported."""
    install = "install it with: pip install .[phy]"
    try:
        if find_spec("sionna") is None or find_spec("sionna.phy") is None:
            raise SemcomError(f"the coded link (CRC, 5G LDPC, QAM) is computed by Sionna; {install}")
        # To import it seeds torch's global generator, which is the user's.
        with torch.random.fork_rng(devices=[]):
            import_module("sionna.phy.fec.ldpc")
    except (ImportError, ValueError) as error:
        raise SemcomError(f"Sionna cannot be imported ({escape(str(error)[:100])}); {install}") from error


@lru_cache(maxsize=512)
def _ldpc(code: MotherCode, device: str) -> tuple[Any, Any]:
    from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder

    encoder = LDPC5GEncoder(code.information, code.length, bg=f"bg{code.base_graph}", device=device)
    decoder = LDPC5GDecoder(encoder, num_iter=ITERATIONS, return_state=True, device=device)
    return encoder, decoder


@lru_cache(maxsize=256)
def _crc(bits: int, length: int, device: str) -> tuple[Any, Any]:
    from sionna.phy.fec.crc import CRCDecoder, CRCEncoder

    encoder = CRCEncoder(f"CRC{bits}", k=length, device=device)
    return encoder, CRCDecoder(encoder, device=device)


@lru_cache(maxsize=32)
def _qam(bits_per_symbol: int, device: str) -> tuple[Any, Any]:
    """The mapper, and the demapper of one of its two dimensions."""
    from sionna.phy.mapping import Demapper, Mapper

    mapper = Mapper("qam", bits_per_symbol, device=device)
    return mapper, Demapper(DEMAPPING, "pam", bits_per_symbol // 2, device=device)


def with_crc(bits: Tensor, crc: int) -> Tensor:
    """[B, K] -> [B, K + crc]. Zeros before the first bit of a row change nothing of its CRC."""
    return _crc(crc, bits.shape[-1], str(bits.device))[0](bits)


def crc_holds(bits: Tensor, crc: int) -> Tensor:
    """[B, K + crc] -> [B] bool."""
    return _crc(crc, bits.shape[-1] - crc, str(bits.device))[1](bits)[1][:, 0]


def encoded(bits: Tensor, code: MotherCode) -> Tensor:
    """[B, code.information] -> [B, code.length]."""
    return _ldpc(code, str(bits.device))[0](bits)


def decoded(llr: Tensor, code: MotherCode, holds: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """[B, code.length] log P(1)/P(0) -> [B, code.information] bits.

    holds: bits [b, code.information] and which rows they are, [b] -> [b] bool: those are decoded no further.
    """
    decoder = _ldpc(code, str(llr.device))[1]
    rows = torch.arange(len(llr), device=llr.device)
    bits = llr.new_zeros(len(llr), code.information)
    state = None
    for _ in range(ROUNDS):
        bits[rows], state = decoder(llr[rows], msg_v2c=state)
        going_on = ~holds(bits[rows], rows)
        rows, state = rows[going_on], state[going_on]
        if not len(rows):
            break
    return bits


def greatest_llr(code: MotherCode, device: torch.device) -> float:
    """What the decoder clips to, and takes known bits for."""
    return _ldpc(code, str(device))[1].llr_max


def mapped(bits: Tensor, bits_per_symbol: int) -> Tensor:
    """[N * bits_per_symbol] -> [N] complex, Gray mapping of TS 38.211, mean energy 1."""
    return _qam(bits_per_symbol, str(bits.device))[0](bits[None])[0]


def demapped(symbols: Tensor, noise: Tensor, bits_per_symbol: int) -> Tensor:
    """[N] complex, after the equaliser, and the noise's power [N] -> [N * bits_per_symbol] log P(1)/P(0)."""
    demapper = _qam(bits_per_symbol, str(symbols.device))[1]
    # A square QAM is two PAMs of energy 1/2, whose bits take turns: exact, and 16 points instead of 256.
    parts = [demapper(2**0.5 * part.to(symbols.dtype), 2 * noise) for part in (symbols.real, symbols.imag)]
    return torch.stack([part.reshape(len(symbols), -1) for part in parts], -1).flatten()
