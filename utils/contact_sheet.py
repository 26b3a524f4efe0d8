"""Contact sheets: labelled rows of pictures on one page, to see a whole video at a glance."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

BACKGROUND = (236, 236, 236)
TEXT_COLOR = (40, 40, 40)
MARGIN = 12
GAP = 4
FONT_SIZE = 14
MIN_TEXT_WIDTH = 360


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[np.ndarray]]],
    *,
    title: str = "",
    row_height: int = 192,
    max_columns: int = 12,
) -> np.ndarray:
    """Lay out rows of pictures, each under its label.

    Args:
        rows: a label and its (H, W, 3) uint8 RGB pictures, a row each. Pictures may differ in size; they are
            scaled to `row_height` without distortion. Rows of equally many pictures stay aligned.
        title: written above all rows, for example the prompt; long texts are wrapped.
        row_height: height of the pictures in pixels.
        max_columns: a row with more pictures shows so many of them, evenly spaced, first and last included.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    assert rows and max_columns >= 1
    strips = [_strip([images[i] for i in spread(len(images), max_columns)], row_height) for _, images in rows]
    text_width = max(MIN_TEXT_WIDTH, *(strip.shape[1] for strip in strips))
    font = ImageFont.load_default(FONT_SIZE)
    blocks: list[np.ndarray] = []
    if title:
        blocks.append(_text(title, text_width, font))
    for (label, _), strip in zip(rows, strips, strict=True):
        if label:
            blocks.append(_text(label, text_width, font))
        blocks.append(strip)
        blocks.append(np.full((MARGIN, 1, 3), BACKGROUND, np.uint8))
    height = sum(block.shape[0] for block in blocks) + MARGIN
    sheet = np.full((height, text_width + 2 * MARGIN, 3), BACKGROUND, np.uint8)
    top = MARGIN
    for block in blocks:
        sheet[top : top + block.shape[0], MARGIN : MARGIN + block.shape[1]] = block
        top += block.shape[0]
    return sheet


def spread(count: int, limit: int) -> list[int]:
    """At most `limit` of `count` places, evenly spaced, first and last included."""
    return np.linspace(0, count - 1, min(count, limit)).round().astype(int).tolist()


def thumbnail(image: np.ndarray, height: int = 192) -> np.ndarray:
    """A picture (H, W, 3) uint8 of the height of a sheet's row, or as it is where it is lower."""
    if image.shape[0] <= height:
        return image
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _strip(images: Sequence[np.ndarray], height: int) -> np.ndarray:
    """Pictures side by side, `height` tall, with gaps of the page's colour."""
    cells: list[np.ndarray] = []
    for image in images:
        width = max(1, round(image.shape[1] * height / image.shape[0]))
        if image.shape[:2] != (height, width):
            interpolation = cv2.INTER_AREA if image.shape[0] > height else cv2.INTER_CUBIC
            image = cv2.resize(image, (width, height), interpolation=interpolation)
        cells += [image, np.full((height, GAP, 3), BACKGROUND, np.uint8)]
    return np.concatenate(cells[:-1], axis=1) if cells else np.full((0, 1, 3), BACKGROUND, np.uint8)


def _text(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> np.ndarray:
    """`text` wrapped to `width` pixels."""
    lines = [line for paragraph in text.splitlines() for line in _wrap(paragraph, width, font)]
    line_height = FONT_SIZE + 5
    block = Image.new("RGB", (width, line_height * len(lines) + GAP), BACKGROUND)
    draw = ImageDraw.Draw(block)
    for i, line in enumerate(lines):
        draw.text((0, i * line_height), line, fill=TEXT_COLOR, font=font)
    return np.asarray(block)


def _wrap(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    lines = [""]
    for word in text.split():
        while word:
            joined = f"{lines[-1]} {word}".strip()
            if font.getlength(joined) <= width:
                lines[-1], word = joined, ""
            elif lines[-1]:
                lines.append("")
            else:  # one word wider than the page is cut
                fits = max(1, sum(font.getlength(word[: n + 1]) <= width for n in range(len(word))))
                lines[-1], word = word[:fits], word[fits:]
                lines.append("")
    return lines if lines[-1] or len(lines) == 1 else lines[:-1]
