"""Labels in pictures without a font file: printable ASCII, five by seven pixels a letter.

write_text(picture, "nano 28.1 dB", top=4, left=4, scale=2)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LETTER_HEIGHT_PX = 7
"""Of a letter, which is 6 wide; a column of that is the gap to the next one."""

# One letter after the other from space to tilde; of each the seven rows from the top, a base-32
# digit a row, whose five bits are the pixels.
_ROWS = (
    "00000004444404AAA0000AAVAVAA4FKE5U4OP248J3CIK8LID44800002488842842224804LEL40044V440"
    "0000C48000V00000000CC01248G0EHJLPHE4C4444EEH1248VV2421HE26AIV22VGU11HE68GUHHEV124888"
    "EHHEHHEEHHF12C0CC0CC00CC0C48248G84200V0V008421248EH12404EH1DLLEEHHVHHHUHHUHHUEHGGGHE"
    "SIHHHISVGGUGGVVGGUGGGEHGNHHFHHHVHHHE44444E72222ICHIKOKIHGGGGGGVHRLLHHHHHPLJHHEHHHHHE"
    "UHHUGGGEHHHLIDUHHUKIHFGGE11UV444444HHHHHHEHHHHHA4HHHLLLAHHA4AHHHHHA444V1248GVE88888E"
    "0G84210E22222E4AH0000000000V842000000E1FHFGGMPHHU00EGGHE11DJHHF00EHVGE698S8880FHHF1E"
    "GGMPHHH40C444E20622ICGGIKOKIC44444E00QLLHH00MPHHH00EHHHE00UHUGG00DJF1100MPGGG00EGE1U"
    "88S889600HHHJD00HHHA400HHLLA00HA4AH00HHF1E00V248V244844244444448442448008L200"
)

_UNKNOWN = "VHHHHHV"
"""A box, for characters beyond ASCII."""


def write_text(
    picture: npt.NDArray[np.uint8],
    text: str,
    *,
    top: int,
    left: int,
    scale: int = 1,
    level: int = 255,
) -> None:
    """Write one line into a picture; what does not fit is cut off.

    Args:
        picture: (H, W, C), changed in place.
        text: Characters outside printable ASCII become boxes.
        top: Row of the letters' upper edge.
        left: Column of the first letter.
        scale: Pixels a dot.
        level: Of the letters, 0 to 255.
    """
    mask = np.kron(text_mask(text), np.ones((scale, scale), np.bool_))
    area = picture[top : top + mask.shape[0], left : left + mask.shape[1]]
    area[mask[: area.shape[0], : area.shape[1]]] = level


def text_mask(text: str) -> npt.NDArray[np.bool_]:
    """The dots of a line, (7, 6 a character)."""
    letters = [_letter(character) for character in text]
    return np.concatenate([np.zeros((LETTER_HEIGHT_PX, 0), np.bool_), *letters], axis=1)


def _letter(character: str) -> npt.NDArray[np.bool_]:
    start = (ord(character) - ord(" ")) * LETTER_HEIGHT_PX
    known = 0 <= start < len(_ROWS)
    digits = _ROWS[start : start + LETTER_HEIGHT_PX] if known else _UNKNOWN
    rows = [[int(digit, 32) >> bit & 1 for bit in (4, 3, 2, 1, 0)] + [0] for digit in digits]
    return np.array(rows, np.bool_)
