"""`python -m stitchnet COMMAND`."""

import argparse
import json
from pathlib import Path

from . import checkpoint
from .config import PUBLISHED, SMALL, TINY

SIZES = {"published": PUBLISHED, "small": SMALL, "tiny": TINY}


def _parity(options: argparse.Namespace) -> None:
    from . import parity

    answers = [parity.compare(options.checkout, options.version, seed) for seed in options.seeds]
    figures = {
        "version": options.version,
        "commit": parity.COMMITS[options.version],
        "seeds": options.seeds,
        "frames": parity.FRAMES,
        "largest": {key: max(answer[key] for answer in answers) for key in answers[0]},
        "unit": "pixels of 480 x 360; mesh_relative is of the width",
        "limit_mesh_relative": 1e-3,
    }
    text = json.dumps(figures, indent=2) + "\n"
    print(text, end="")
    if options.out:
        options.out.write_text(text)
    if figures["largest"]["mesh_relative"] > figures["limit_mesh_relative"]:
        raise SystemExit("the networks are not those published: mesh_relative is above its limit")


def _export(options: argparse.Namespace) -> None:
    from . import export

    config = SIZES[options.size]
    if options.model_dir:
        nets = checkpoint.load(options.model_dir, options.version, config)
    else:
        nets = checkpoint.build(options.version, config)
        for i, net in enumerate(nets.named().values()):
            checkpoint.randomise(net, options.random + i)
            checkpoint.scale_last_layers(net, 3.0)
    figures = []
    for exported in export.export(nets, options.out):
        figures.append(
            {
                "file": exported.path.name,
                "bytes": exported.path.stat().st_size,
                "nodes": exported.nodes,
                "largest_difference_from_torch": exported.largest_difference,
                "operators": sorted(exported.operators),
            }
        )
        print(json.dumps(figures[-1]))
    if options.figures:
        content = {"version": options.version, "size": options.size, "opset": export.OPSET, "files": figures}
        options.figures.write_text(json.dumps(content, indent=2) + "\n")


def _golden(options: argparse.Namespace) -> None:
    from . import golden

    golden.write(options.out)


def _bench(options: argparse.Namespace) -> None:
    from . import bench

    bench.run(options.models, options.threads, options.frames, options.out)


def _train(options: argparse.Namespace) -> None:
    from . import train

    train.run(train.Plan(**{key: value for key, value in vars(options).items() if key != "do"}))


def main() -> None:
    """Reads the command line and does what it asks."""
    parser = argparse.ArgumentParser(prog="stitchnet", description=__doc__)
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("parity", help="compare with a checkout of the published code")
    command.add_argument("checkout", type=Path)
    command.add_argument("--version", type=int, choices=checkpoint.VERSIONS, default=2)
    command.add_argument("--seeds", type=int, nargs="+", default=[3, 30, 300])
    command.add_argument("--out", type=Path, help="file for the figures")
    command.set_defaults(do=_parity)

    command = commands.add_parser("export", help="write spatial.onnx, temporal.onnx and smooth.onnx")
    weights = command.add_mutually_exclusive_group(required=True)
    weights.add_argument("--model-dir", type=Path, help="folder with the three checkpoints")
    weights.add_argument("--random", type=int, metavar="SEED", help="random weights, for measurements")
    command.add_argument("--version", type=int, choices=checkpoint.VERSIONS, default=2)
    command.add_argument("--size", choices=SIZES, default="published")
    command.add_argument("--out", type=Path, required=True)
    command.add_argument("--figures", type=Path)
    command.set_defaults(do=_export)

    command = commands.add_parser("golden", help="write the goldens of the daemon's tests")
    command.add_argument("--out", type=Path, required=True)
    command.set_defaults(do=_golden)

    command = commands.add_parser("bench", help="time the exported networks in onnxruntime")
    command.add_argument("models", type=Path)
    command.add_argument("--threads", type=int, default=2)
    command.add_argument("--frames", type=int, default=10)
    command.add_argument("--out", type=Path)
    command.set_defaults(do=_bench)

    command = commands.add_parser("train", help="train small weights of our own, unsupervised; goes on where it was")
    command.add_argument("work", type=Path, help="folder of checkpoints and the log")
    command.add_argument("--stage", choices=("spatial", "temporal", "smooth"), required=True)
    command.add_argument("--size", choices=SIZES, default="small")
    command.add_argument("--steps", type=int, default=100_000, help="in all, those of earlier runs included")
    command.add_argument("--batch", type=int, default=8)
    command.add_argument("--rate", type=float, default=1e-4)
    command.add_argument("--save-every", type=int, default=1000)
    command.add_argument("--device", default="cpu")
    command.add_argument("--seed", type=int, default=1)
    command.set_defaults(do=_train)

    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
