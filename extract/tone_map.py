"""High dynamic range to standard: ffmpeg filters that every build of ffmpeg has.

Pictures are display-referred throughout, as ITU-R BT.2408 puts it: HDR reference white, 203 cd/m2, becomes SDR white.
What a face shows lies below and keeps its brightness exactly; what is brighter than a knee is rolled off.
"""

from __future__ import annotations

from typing import Literal

Transfer = Literal["sdr", "pq", "hlg"]
"""How brightness is coded: as usual, SMPTE ST 2084 (HDR10, Dolby Vision), or ARIB STD-B67."""

Filter = tuple[str, dict[str, str | float]]
"""Name and options of an ffmpeg filter."""

TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
"""ISO/IEC 23091-2's codes of transfer characteristics, as streams carry them."""

_KNEE = 0.75  # of SDR white: below it nothing changes
_PEAK = 1000 / 203  # of SDR white: the brightest that is told apart

# Linear light from a code value v in 0..1, as a share of SDR white (ITU-R BT.2100). HLG's display gamma of 1.2,
# for 1,000 cd/m2, goes over each colour instead of the luminance: at most a little more saturated.
_LINEAR: dict[Transfer, str] = {
    "pq": "(10000/203)*pow(max(pow({v},1/78.84375)-0.8359375,0)"
    "/(18.8515625-18.6875*pow({v},1/78.84375)),1/0.1593017578125)",
    "hlg": "(1000/203)*pow(if(lte({v},0.5),{v}*{v}/3,(exp(({v}-0.55991073)/0.17883277)+0.28466892)/12),1.2)",
}

# Primaries of BT.2020 to those of BT.709, rows red, green, blue (ITU-R BT.2407).
_PRIMARIES = (
    (1.6605, -0.5876, -0.0728),
    (-0.1246, 1.1329, -0.0083),
    (-0.0182, -0.1006, 1.1187),
)


def tone_map_filters(transfer: Transfer) -> list[Filter]:
    """Return the filters that make BT.2020 pictures of a transfer BT.709 ones; none for ``sdr``."""
    if transfer == "sdr":
        return []
    linear = f"maxval*{_rolled_off(_LINEAR[transfer].format(v='(val/maxval)'))}"
    gamma = "maxval*pow(val/maxval,1/2.4)"  # ITU-R BT.1886
    mixer: dict[str, str | float] = {
        f"{out}{into}": weight
        for out, row in zip("rgb", _PRIMARIES, strict=True)
        for into, weight in zip("rgb", row, strict=True)
    }
    return [
        ("scale", {"in_color_matrix": "bt2020", "flags": "accurate_rnd+full_chroma_int"}),
        ("format", {"pix_fmts": "gbrp16le"}),
        ("lutrgb", dict.fromkeys("rgb", linear)),
        ("colorchannelmixer", mixer),
        ("lutrgb", dict.fromkeys("rgb", gamma)),
        ("scale", {"out_color_matrix": "bt709", "out_range": "tv", "flags": "accurate_rnd+full_chroma_int"}),
        ("format", {"pix_fmts": "yuv420p"}),
        ("setparams", {"color_primaries": "bt709", "color_trc": "bt709", "colorspace": "bt709"}),
    ]


def _rolled_off(light: str) -> str:
    """Linear up to the knee, from there a hyperbola of the same slope that reaches 1 at the peak."""
    # y = k + (x - k) / (1 + (x - k) b), with y = 1 at x = peak
    b = (_PEAK - 1) / ((_PEAK - _KNEE) * (1 - _KNEE))
    return f"min(1,st(0,{light})*0+if(lte(ld(0),{_KNEE}),ld(0),{_KNEE}+(ld(0)-{_KNEE})/(1+(ld(0)-{_KNEE})*{b:.6f})))"
