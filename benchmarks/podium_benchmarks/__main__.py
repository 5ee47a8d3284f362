"""`podium-benchmarks`: the list of benchmarks, their data sets, and the sizes of their full models."""

from __future__ import annotations

import argparse
import json
import sys

from podium_benchmarks.prepare import command

BENCHMARKS = {
    "resnet": "ResNet-50 v1.5, image classification, top-1",
    "ssd": "SSD300 with ResNet-34, object detection, COCO box AP",
    "maskrcnn": "Mask R-CNN with ResNet-50 FPN, object detection, COCO box AP and mask AP",
    "gnmt": "GNMT, translation by LSTMs, BLEU",
    "transformer": "Transformer big, translation by attention, BLEU",
    "ncf": "neural collaborative filtering, recommendation, HR@10",
    "minigo": "MiniGo, Go by self-play, games won or moves predicted",
}


def main() -> int:
    """Run the sub-command asked for."""
    listing = "\n".join(f"  {name:11} {text}" for name, text in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="podium-benchmarks",
        description="MLPerf Training reference models in PyTorch.",
        epilog=f"benchmarks:\n{listing}\n\nrun one: torchrun -m podium_benchmarks.<benchmark> --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command")
    params = commands.add_parser("params", help="print the parameter count of every full model")
    params.add_argument("--json", action="store_true", help="as one JSON object")
    command.add_parser(commands)
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        return command.run(arguments)
    if arguments.command != "params":
        parser.print_help()
        return 0
    counts = parameter_counts()
    if arguments.json:
        print(json.dumps(counts))
    else:
        for name, count in counts.items():
            print(f"{name:11} {count:>12,}")
    return 0


def parameter_counts() -> dict[str, int]:
    """Trainable parameters of each full model, built without memory for them."""
    # Imported here: torch takes seconds, the list of benchmarks shouldn't.
    import torch  # noqa: PLC0415

    from podium_benchmarks.gnmt import config as gnmt_config  # noqa: PLC0415
    from podium_benchmarks.gnmt import model as gnmt_model  # noqa: PLC0415
    from podium_benchmarks.maskrcnn import config as maskrcnn_config  # noqa: PLC0415
    from podium_benchmarks.maskrcnn import model as maskrcnn_model  # noqa: PLC0415
    from podium_benchmarks.minigo import config as minigo_config  # noqa: PLC0415
    from podium_benchmarks.minigo import networks as minigo_networks  # noqa: PLC0415
    from podium_benchmarks.ncf import config as ncf_config  # noqa: PLC0415
    from podium_benchmarks.ncf import model as ncf_model  # noqa: PLC0415
    from podium_benchmarks.resnet import config as resnet_config  # noqa: PLC0415
    from podium_benchmarks.resnet import model as resnet_model  # noqa: PLC0415
    from podium_benchmarks.ssd import config as ssd_config  # noqa: PLC0415
    from podium_benchmarks.ssd import model as ssd_model  # noqa: PLC0415
    from podium_benchmarks.transformer import config as transformer_config  # noqa: PLC0415
    from podium_benchmarks.transformer import model as transformer_model  # noqa: PLC0415

    resnet, ncf, transformer = resnet_config.FULL, ncf_config.FULL, transformer_config.FULL
    with torch.device("meta"):
        models = {
            "resnet": resnet_model.ResNet(width=resnet.width, blocks=resnet.blocks, num_classes=resnet.num_classes),
            "ssd": ssd_model.SSD(width=ssd_config.FULL.width, num_classes=ssd_config.FULL.num_classes),
            "maskrcnn": maskrcnn_model.MaskRCNN(maskrcnn_config.FULL, maskrcnn_config.FULL.num_classes),
            "gnmt": gnmt_model.GNMT(gnmt_config.FULL, gnmt_config.FULL.vocab_size),
            "transformer": transformer_model.Transformer(transformer, transformer.vocab_size),
            "ncf": ncf_model.NeuMF(
                users=ncf_model.ML_20M_USERS,
                items=ncf_model.ML_20M_ITEMS,
                mf_factors=ncf.mf_factors,
                mlp_widths=ncf.mlp_widths,
            ),
            "minigo": minigo_networks.network(minigo_config.FULL),
        }
    return {name: sum(parameter.numel() for parameter in model.parameters()) for name, model in models.items()}


if __name__ == "__main__":
    sys.exit(main())
