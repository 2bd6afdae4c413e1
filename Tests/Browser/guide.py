"""Makes the pictures of the owner's guide: guide.py DIRECTORY"""

import os
import sys

from PIL import Image

from browser import BASE, Browser
from pages import prepare
from server import Server

# Whoever builds a page adds it here, and in docs/dashboard.md.
PICTURES = (
    ("overview", BASE),
    ("registries", f"{BASE}/registry-access"),
    ("add-registry", f"{BASE}/registry-access/add?address=ghcr.io"),
    ("review", f"{BASE}/registry-access/review"),
    ("activity", f"{BASE}/activity"),
    ("devices", f"{BASE}/devices"),
    ("request", f"{BASE}/requests/1"),
    ("sign-in-again", f"{BASE}/sessions/end?everybody=true"),
)
MOST_BYTES = 100_000
MOST_PIXELS = 900


def shrink(path):
    """Few colours are enough for a page, and make a file of a tenth."""
    with Image.open(path) as image:
        height = min(image.height, MOST_PIXELS)
        image = image.convert("RGB").crop((0, 0, image.width, height))
        image.quantize(colors=64, dither=Image.Dither.NONE).save(path, optimize=True)
    size = os.path.getsize(path)
    print(f"{os.path.basename(path)}: {size} bytes")
    if size > MOST_BYTES:
        raise SystemExit(f"{path} has {size} bytes, and may have {MOST_BYTES}")


def main(directory):
    os.makedirs(directory, exist_ok=True)
    server = Server()
    browser = None
    try:
        prepare(server)
        browser = Browser(server.url)
        browser.sign_in("alice")
        for name, path in PICTURES:
            picture = os.path.join(directory, f"{name}.png")
            browser.go(path).picture(picture)
            shrink(picture)
    finally:
        if browser:
            browser.end()
        server.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
