"""Whether class activation maps point at the object.

    python3 bench/localisation.py target/release/resnet FOLDER [--side 0.6] [--seed 0] [resnet's flags ...]

FOLDER has one folder of photos for each class, named by its WordNet id. Each photo is cut out as an ellipse, made
smaller, and pasted at a random place of a blurred photo of another class. Where the model names the class of the object,
the maximum of that class's map counts as right if it is inside the object's box. Prints both counts, and the share that
a random place in the crop would get. Needs Pillow.
"""
import argparse
import http.client
import io
import json
import pathlib
import random
import subprocess
import time

from PIL import Image, ImageDraw, ImageFilter

CANVAS = 448
PORT = 8397


def photo(path):
    """The middle square of a photo."""
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def paste(object_path, background_path, side, random):
    """A picture with the object, and the object's box."""
    picture = photo(background_path).resize((CANVAS, CANVAS)).filter(ImageFilter.GaussianBlur(40))
    side = round(CANVAS * side)
    cut_out = photo(object_path).resize((side, side), Image.LANCZOS)
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((0, 0, side - 1, side - 1), fill=255)
    left, top = (random.randrange(CANVAS - side) for _ in range(2))
    picture.paste(cut_out, (left, top), mask.filter(ImageFilter.GaussianBlur(3)))
    return picture, (left, top, left + side, top + side)


def hottest(explanation):
    """The centre of the largest value of the first map, in the picture."""
    crop, rows = explanation["crop"], explanation["maps"][0]["values"]
    _, y, x = max((value, y, x) for y, row in enumerate(rows) for x, value in enumerate(row))
    return (crop["x"] + (x + 0.5) / len(rows[0]) * crop["width"],
            crop["y"] + (y + 0.5) / len(rows) * crop["height"])


def explain(picture):
    body = io.BytesIO()
    picture.save(body, "JPEG", quality=95)
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    connection.request("POST", "/explain?top_k=1", body.getvalue())
    return json.load(connection.getresponse())


def ready():
    try:
        connection = http.client.HTTPConnection("127.0.0.1", PORT)
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("resnet")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--side", type=float, default=0.6, help="side of the object, as a share of the picture's")
    parser.add_argument("--seed", type=int, default=0)
    arguments, flags = parser.parse_known_args()
    rng = random.Random(arguments.seed)
    paths = sorted(path for path in arguments.folder.glob("n*/*"))
    server = subprocess.Popen([arguments.resnet, "--port", str(PORT), "--log", "error", *flags])
    try:
        while not ready():
            if server.poll() is not None:
                raise SystemExit("the server did not start")
            time.sleep(0.1)
        right = inside = 0
        area = 0.0
        for index, path in enumerate(paths):
            background = paths[(index + len(paths) // 2) % len(paths)]
            picture, box = paste(path, background, arguments.side, rng)
            explanation = explain(picture)
            if explanation["predictions"][0]["wnid"] != path.parent.name:
                continue
            x, y = hottest(explanation)
            right += 1
            inside += box[0] <= x < box[2] and box[1] <= y < box[3]
            crop = explanation["crop"]
            area += (box[2] - box[0]) * (box[3] - box[1]) / (crop["width"] * crop["height"])
    finally:
        server.terminate()
        server.wait()
    print(f"{len(paths)} pictures, {right} of them with the right class; the maximum of its map is inside the object's "
          f"box in {inside} of {right} ({inside / max(right, 1):.1%}); by chance {area / max(right, 1):.1%}")


if __name__ == "__main__":
    main()
