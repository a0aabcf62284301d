#!/usr/bin/env python3
"""Golden detections: what onnxruntime finds, with the pre- and post-processing of each model's authors.

    python3 -m venv .venv && .venv/bin/pip install onnxruntime numpy opencv-python-headless
    tools/golden/detect.py detections MIRROR    writes daemon/vision/golden/detections.json
    tools/golden/detect.py persons MIRROR       writes daemon/vision/golden/one-by-one-person.json
    tools/golden/detect.py bench MIRROR         prints {model: all-in ms a frame} as JSON

MIRROR is a folder with data/ and models/, as SYNOPTIC_MIRROR names it. Written apart from the Rust code on purpose:
OpenCV resizes, numpy decodes, so that a mistake is not made twice.
"""
import json
import os
import subprocess
import sys
import time
import tomllib

import cv2
import numpy as np
import onnxruntime as ort

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
GOLDEN = os.path.join(ROOT, "daemon", "vision", "golden")
CLIP = "data/clips/one-by-one-person-detection.mp4"
FILES = {
    "fastestdet": "models/fastestdet/FastestDet.onnx",
    "yolox-nano": "models/yolox-nano/yolox_nano.onnx",
    "nanodet-m": "models/nanodet-m/nanodet_m_416.onnx",
}
# (file, frame, size); without a frame a still, that each side decodes with its own JPEG decoder. Decoders round apart
# by one level in 4 % of the chroma samples. No box of some size sees that, but it moves the score of a person of a
# dozen pixels by 0.014, more than the test allows (small09.jpg by yolox-nano: 0.452 and 0.466; from the same planes
# OpenCV's and our resampling give the same four digits). So that still is decoded by the ffmpeg command on both sides.
PICTURES = [
    *((CLIP, frame, (768, 432)) for frame in (100, 300, 620, 1000, 1290)),
    ("data/stills/openpano/myself/small01.jpg", None, None),
    ("data/stills/openpano/myself/small05.jpg", None, None),
    ("data/stills/openpano/myself/small09.jpg", 0, (600, 398)),
    ("data/stills/hm-cupano/budapest1.jpg", None, None),
]


def coco80():
    text = open(os.path.join(ROOT, "daemon", "vision", "src", "manifest.rs")).read()
    return json.loads("[" + text.split("COCO80: [&str; 80] = [")[1].split("];")[0].strip().rstrip(",") + "]")


def manifest(name):
    with open(os.path.join(ROOT, "configs", "models", name + ".toml"), "rb") as file:
        return tomllib.load(file)


def session(mirror, name, threads=1):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return ort.InferenceSession(os.path.join(mirror, FILES[name]), options, providers=["CPUExecutionProvider"])


class Video:
    """A BGR picture as the daemon gets it: BT.601 limited range planes, 4:2:0, 8 bits."""

    def __init__(self, bgr):
        self.shape = bgr.shape
        h, w = bgr.shape[:2]
        b, g, r = (bgr[..., i].astype(np.float32) for i in range(3))
        y = 0.299 * r + 0.587 * g + 0.114 * b
        self.y = np.round(16 + y * 219 / 255)
        half = lambda p: np.round(cv2.resize(np.pad(p, ((0, h % 2), (0, w % 2)), "edge"), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
        self.cb = half(128 + (b - y) / 1.772 * 224 / 255)
        self.cr = half(128 + (r - y) / 1.402 * 224 / 255)

    @classmethod
    def frame(cls, path, frame, width, height):
        """A frame of a video file by the ffmpeg command: its planes untouched."""
        command = ["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-vsync", "0", "-"]
        self, size, quarter = cls.__new__(cls), width * height, width * height // 4
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            for _ in range(frame + 1):
                raw = np.frombuffer(child.stdout.read(size + 2 * quarter), np.uint8).astype(np.float32)
            child.kill()
        self.shape = (height, width, 3)
        self.y = raw[:size].reshape(height, width)
        self.cb = raw[size : size + quarter].reshape(height // 2, width // 2)
        self.cr = raw[size + quarter :].reshape(height // 2, width // 2)
        return self

    def resize(self, size):
        y, cb, cr = (cv2.resize(p, size) for p in (self.y, self.cb, self.cr))
        y, cb, cr = (y - 16) * 255 / 219, (cb - 128) * 255 / 224, (cr - 128) * 255 / 224
        g = y - (0.114 * 1.772 * cb + 0.299 * 1.402 * cr) / 0.587
        return np.stack([y + 1.772 * cb, g, y + 1.402 * cr], -1).clip(0, 255)


def resize(image, size):
    return image.resize(size) if isinstance(image, Video) else cv2.resize(image, size)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def nms(boxes, scores, classes, most):
    """Class-wise greedy suppression of x, y, w, h boxes; indices, best first."""
    kept = []
    for i in np.argsort(-scores):
        x0, y0 = boxes[i, :2]
        x1, y1 = boxes[i, :2] + boxes[i, 2:]
        for k in kept:
            if classes[k] != classes[i]:
                continue
            w = min(x1, boxes[k, 0] + boxes[k, 2]) - max(x0, boxes[k, 0])
            h = min(y1, boxes[k, 1] + boxes[k, 3]) - max(y0, boxes[k, 1])
            both = max(w, 0) * max(h, 0)
            if both > most * (boxes[i, 2] * boxes[i, 3] + boxes[k, 2] * boxes[k, 3] - both):
                break
        else:
            kept.append(i)
    return kept


def fastestdet(run, image, threshold):
    h, w = image.shape[:2]
    x = resize(image, (352, 352)).transpose(2, 0, 1)[None].astype(np.float32) / 255
    out = run(x)[0][0].reshape(85, -1)
    score = out[0] ** 0.6 * out[5:].max(0) ** 0.4
    k = score >= threshold
    out, cell = out[:, k], np.nonzero(k)[0]
    cx, cy = (cell % 22 + np.tanh(out[1])) / 22, (cell // 22 + np.tanh(out[2])) / 22
    bw, bh = sigmoid(out[3]), sigmoid(out[4])
    boxes = np.stack([cx - bw / 2, cy - bh / 2, bw, bh], 1) * [w, h, w, h]
    return boxes, score[k], out[5:].argmax(0)


def yolox(run, image, threshold):
    h, w = image.shape[:2]
    ratio = min(416 / h, 416 / w)
    small = resize(image, (int(w * ratio + 1e-6), int(h * ratio + 1e-6)))
    x = np.full((416, 416, 3), 114, small.dtype)
    x[: small.shape[0], : small.shape[1]] = small
    out = run(x.transpose(2, 0, 1)[None].astype(np.float32))[0][0]
    sides = [416 // s for s in (8, 16, 32)]
    grid = np.concatenate([np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1).reshape(-1, 2) for n in sides])
    stride = np.concatenate([np.full(n * n, 416 // n) for n in sides])[:, None]
    score = out[:, 4] * out[:, 5:].max(1)
    k = score >= threshold
    out, grid, stride = out[k], grid[k], stride[k]
    size = np.exp(out[:, 2:4]) * stride
    # By the true scale of each axis; the authors divide by the ratio before rounding, up to a pixel off.
    scale = [small.shape[1] / w, small.shape[0] / h] * 2
    boxes = np.concatenate([(out[:, :2] + grid) * stride - size / 2, size], 1) / scale
    return boxes, score[k], out[:, 5:].argmax(1)


def nanodet(run, image, threshold):
    h, w = image.shape[:2]
    ratio = min(416 / h, 416 / w)
    nw, nh = int(w * ratio + 1e-6), int(h * ratio + 1e-6)
    left, top = (416 - nw) // 2, (416 - nh) // 2
    small = resize(image, (nw, nh))
    x = np.zeros((416, 416, 3), small.dtype)
    x[top : top + nh, left : left + nw] = small
    x = (x.astype(np.float32) - [103.53, 116.28, 123.675]) / [57.375, 57.12, 58.395]
    outs = run(x.transpose(2, 0, 1)[None].astype(np.float32))
    boxes, scores, classes = [], [], []
    for stride in (8, 16, 32):
        n = 416 // stride
        pair = [o[0] for o in outs if o.shape[1] == n * n]
        score, dist = sorted(pair, key=lambda o: -o.shape[1])
        k = score.max(1) >= threshold
        cell = np.nonzero(k)[0]
        e = np.exp(dist[k].reshape(-1, 4, 8))
        d = (e / e.sum(2, keepdims=True)) @ np.arange(8) * stride
        cx, cy = cell % n * stride + (stride - 1) / 2, cell // n * stride + (stride - 1) / 2
        edges = np.stack([cx - d[:, 0], cy - d[:, 1], cx + d[:, 2], cy + d[:, 3]], 1).clip(0, 416)
        edges = (edges - [left, top, left, top]) * [w / nw, h / nh, w / nw, h / nh]
        boxes.append(np.concatenate([edges[:, :2], edges[:, 2:] - edges[:, :2]], 1))
        scores.append(score[k].max(1))
        classes.append(score[k].argmax(1))
    return np.concatenate(boxes), np.concatenate(scores), np.concatenate(classes)


DECODERS = {"fastestdet": fastestdet, "yolox": yolox, "nanodet": nanodet}


def detect(sess, spec, image, threshold=None):
    """Detections as (class, score, x, y, w, h), box in fractions of the picture."""
    name = sess.get_inputs()[0].name
    run = lambda x: sess.run(None, {name: x})
    boxes, scores, classes = DECODERS[spec["decoder"]](run, image, threshold or spec["threshold"])
    h, w = image.shape[:2]
    found = []
    for i in nms(boxes, scores, classes, spec["nms_iou"]):
        x0, y0 = boxes[i, :2] / [w, h]
        x1, y1 = (boxes[i, :2] + boxes[i, 2:]) / [w, h]
        x0, y0, x1, y1 = (min(max(float(v), 0.0), 1.0) for v in (x0, y0, x1, y1))
        if x1 > x0 and y1 > y0:
            found.append((int(classes[i]), float(scores[i]), x0, y0, x1 - x0, y1 - y0))
    return found


def frames(path):
    clip = cv2.VideoCapture(path)
    while True:
        ok, image = clip.read()
        if not ok:
            return
        yield image


def write(name, value):
    with open(os.path.join(GOLDEN, name), "w") as file:
        file.write(value + "\n")


def detections(mirror):
    labels, result = coco80(), []
    models = {name: (session(mirror, name), manifest(name)) for name in FILES}
    for file, frame, size in PICTURES:
        if frame is None:
            image = Video(cv2.imread(os.path.join(mirror, file)))
        else:
            image = Video.frame(os.path.join(mirror, file), frame, *size)
        entry = {"file": file, "width": image.shape[1], "height": image.shape[0], "models": {}}
        if frame is not None:
            entry["frame"] = frame
        for name, (sess, spec) in models.items():
            found = detect(sess, spec, image)
            entry["models"][name] = [[labels[c], *(round(v, 5) for v in rest)] for c, *rest in found]
            print(file, frame, name, entry["models"][name], file=sys.stderr)
        result.append(entry)
    write("detections.json", json.dumps({"onnxruntime": ort.__version__, "pictures": result}, indent=1))


def persons(mirror):
    sess, spec = session(mirror, "yolox-nano"), manifest("yolox-nano")
    result = []
    for image in frames(os.path.join(mirror, CLIP)):
        found = detect(sess, spec, image, 0.2)
        result.append([[round(v, 4) for v in (*box, score)] for c, score, *box in found if c == 0])
    about = {"clip": CLIP, "model": "yolox-nano", "onnxruntime": ort.__version__, "frame": "list of x, y, w, h, score"}
    write("one-by-one-person.json", json.dumps({**about, "frames": result}, separators=(",", ":")))


def bench(mirror):
    """All-in: BGR picture of 768x432 to boxes, one thread, 10th percentile of 60 after 5."""
    clip, times = frames(os.path.join(mirror, CLIP)), {}
    image = next(image for i, image in enumerate(clip) if i == 300)
    cv2.setNumThreads(1)
    for name in FILES:
        sess, spec, took = session(mirror, name), manifest(name), []
        for _ in range(65):
            start = time.perf_counter()
            detect(sess, spec, image)
            took.append((time.perf_counter() - start) * 1e3)
        times[name] = sorted(took[5:])[6]
    print(json.dumps(times))


if __name__ == "__main__":
    commands = {"detections": detections, "persons": persons, "bench": bench}
    if len(sys.argv) != 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](sys.argv[2])
