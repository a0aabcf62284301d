#!/usr/bin/env python3
"""OpenCV composing the rig of `make bench NAME=stitch` with fixed cameras: ms a frame, as JSON.

Two cameras of 1920x1080 become 3264x1080. Maps, masks and gains are made once; timed is what a frame takes: NV12 to
BGR, remap, gain blocks, OpenCV's own blender, BGR to I420. Its seam does not move and its gains are not estimated.
Needs numpy and opencv-python-headless.
"""

import json
import time

import cv2
import numpy as np

CAMERA = (1920, 1080)
CANVAS = (3264, 1080)
THREADS = 2
FRAMES = 12
WARM = 3


def maps(k):
    """Camera pixels of each canvas pixel of camera k."""
    angle = np.radians(60.0)
    focal = CAMERA[0] / 2 / np.tan(angle / 2)
    yaw = (k - 0.5) * 0.7 * angle
    x, y = np.meshgrid(np.arange(CANVAS[0]), np.arange(CANVAS[1]))
    u = (x - (CANVAS[0] / 2 - 0.5)) / (1920 / angle) - yaw
    v = (y - 539.5) / (1920 / angle)
    forward = np.cos(u)
    a, b = np.tan(u), v / forward
    a[forward <= 0] = 1e6
    lens = 1 - 0.03 * (a * a + b * b)
    return (focal * a * lens + 959.5).astype(np.float32), (focal * b * lens + 539.5).astype(np.float32)


def nv12(k):
    """A picture of squares."""
    x, y = np.meshgrid(np.arange(CAMERA[0]), np.arange(CAMERA[1]))
    luma = np.where((x // 40 + y // 40) % 2 == 0, 90, 130) - 10 * k + np.random.default_rng(k).integers(0, 8, x.shape)
    chroma = np.full((CAMERA[1] // 2, CAMERA[0]), 124)
    return np.vstack([luma, chroma]).astype(np.uint8)


def main():
    """Times both blenders."""
    cv2.setNumThreads(THREADS)
    pictures = [nv12(k) for k in range(2)]
    views = []
    for k in range(2):
        mx, my = maps(k)
        seen = (mx >= 0) & (mx < CAMERA[0] - 1) & (my >= 0) & (my < CAMERA[1] - 1)
        columns = np.flatnonzero(seen.any(axis=0))
        left, right = int(columns[0]), int(columns[-1]) + 1
        fixed = cv2.convertMaps(mx[:, left:right], my[:, left:right], cv2.CV_16SC2)
        mask = seen[:, left:right].astype(np.uint8) * 255
        # The seam stays in the middle.
        cut = mask.copy()
        middle = CANVAS[0] // 2 - left
        if k == 0:
            cut[:, middle:] = 0
        else:
            cut[:, :middle] = 0
        views.append((fixed, left, mask, cut))

    def warp(k):
        bgr = cv2.cvtColor(pictures[k], cv2.COLOR_YUV2BGR_NV12)
        return cv2.remap(bgr, *views[k][0], cv2.INTER_LINEAR)

    compensator = cv2.detail.ExposureCompensator_createDefault(cv2.detail.ExposureCompensator_GAIN_BLOCKS)
    compensator.feed([(v[1], 0) for v in views], [warp(k) for k in range(2)], [v[2] for v in views])

    def frame(kind):
        if kind == "feather":
            blender = cv2.detail_FeatherBlender(1 / 16)
        else:
            blender = cv2.detail_MultiBandBlender(0, 3)
        blender.prepare((0, 0, *CANVAS))
        for k in range(2):
            bgr = warp(k)
            compensator.apply(k, (views[k][1], 0), bgr, views[k][2])
            blender.feed(bgr.astype(np.int16), views[k][3], (views[k][1], 0))
        picture, _ = blender.blend(None, None)
        return cv2.cvtColor(np.clip(picture, 0, 255).astype(np.uint8), cv2.COLOR_BGR2YUV_I420)

    found = {}
    for kind in ("feather", "multi-band"):
        took = []
        for i in range(WARM + FRAMES):
            start = time.perf_counter()
            frame(kind)
            if i >= WARM:
                took.append((time.perf_counter() - start) * 1e3)
        found[kind] = sorted(took)[len(took) // 2]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
