"""Composes the pictures of the documentation from those that the browser tests save in `target/screenshots`."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SOURCE = Path("target/screenshots")
TARGET = Path("docs/screenshots")
# Pictures by the name of the file that they become.
STILLS = {"overview": "film-2", "incident": "incident"}
# What each frame of the film shows, and for how many milliseconds.
FRAMES = [
    ("film-1", 2400, "1. The demo: two weeks of history, nothing leaks yet"),
    ("film-2", 3600, "2. Session tokens leak: logs and table both show it"),
    ("film-3", 3600, "3. What it means, who is affected, what to do"),
    ("film-4", 3200, "4. A plan lists every row before anything changes"),
    ("film-5", 2400, "5. Contained: the shared sessions are revoked"),
    ("film-6", 2400, "6. A mistake: the sessions of another user are revoked"),
    ("film-7", 2400, "7. Undone: the sessions are restored"),
]
FILM_WIDTH = 1120
CAPTION_HEIGHT = 56
CAPTION_BACKGROUND = "#0f1720"
CAPTION_COLOR = "#ffffff"
MAX_FILM_BYTES = 1_500_000
# Flat surfaces need few colors, and text stays sharp.
STILL_COLORS = 128
FILM_QUALITY = 80


def compose_frame(name, caption):
    """Returns a frame of the film: the picture, scaled down, above its caption."""
    picture = Image.open(SOURCE / f"{name}.png").convert("RGB")
    height = round(picture.height * FILM_WIDTH / picture.width)
    picture = picture.resize((FILM_WIDTH, height), Image.Resampling.LANCZOS)
    frame = Image.new("RGB", (FILM_WIDTH, height + CAPTION_HEIGHT), CAPTION_BACKGROUND)
    frame.paste(picture, (0, 0))
    font = ImageFont.load_default(24)
    place = (24, height + CAPTION_HEIGHT // 2)
    ImageDraw.Draw(frame).text(place, caption, font=font, fill=CAPTION_COLOR, anchor="lm")
    return frame


def main():
    for name, source in STILLS.items():
        picture = Image.open(SOURCE / f"{source}.png").convert("RGB")
        picture.quantize(STILL_COLORS, dither=Image.Dither.NONE).save(TARGET / f"{name}.png", optimize=True)
    frames = [compose_frame(name, caption) for name, _, caption in FRAMES]
    film = TARGET / "demo.webp"
    durations = [duration for _, duration, _ in FRAMES]
    frames[0].save(
        film, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=FILM_QUALITY, method=6
    )
    size = film.stat().st_size
    print(f"{film}: {size:,} bytes, {sum(durations) / 1000} s")
    if size > MAX_FILM_BYTES:
        raise SystemExit(f"{film} is larger than {MAX_FILM_BYTES:,} bytes")


main()
