"""What the ResNet trainer is measured against: the loop as one would first write it.

The same network, way of initializing, settings and data; images decoded one by one as they are asked for, fp32, NCHW, SGD
as it comes (it decays normalization too), the loss read at every step, an evaluation after every epoch.

    python tests/performance/train/resnet_naive.py --data DIR --seed 1 --target 0.6 --set width=16 ...

takes the trainer's arguments and prints top-1 after each epoch as JSON. `perf_train.py` runs both.
"""

from __future__ import annotations

import json
import sys

import torch
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from podium_benchmarks.core import cli
from podium_benchmarks.resnet import BENCHMARK
from podium_benchmarks.resnet import train as trainer
from podium_benchmarks.resnet.config import Config
from podium_benchmarks.resnet.data import MEAN_RGB
from podium_benchmarks.resnet.model import ResNet, initialize


def loaders(config: Config, folder: str) -> tuple[DataLoader, DataLoader]:
    """Shuffled random crops for training, central squares for evaluation."""
    size = config.image_size
    end = [
        transforms.ToTensor(),
        transforms.Normalize([value / 255 for value in MEAN_RGB], [1 / 255] * 3),
    ]
    crops = [transforms.RandomResizedCrop(size, (config.min_crop_area, 1.0)), transforms.RandomHorizontalFlip()]
    centers = [transforms.Resize(size), transforms.CenterCrop(size)]
    train = datasets.ImageFolder(f"{folder}/train", transforms.Compose(crops + end))
    evaluation = datasets.ImageFolder(f"{folder}/val", transforms.Compose(centers + end))
    return DataLoader(train, config.global_batch_size, shuffle=True), DataLoader(evaluation, 256)


def top1(model: ResNet, batches: DataLoader) -> float:
    """Part of the evaluation images whose class is named."""
    model.eval()
    right = seen = 0
    with torch.no_grad():
        for images, labels in batches:
            right += (model(images).argmax(1) == labels).sum().item()
            seen += len(labels)
    model.train()
    return right / seen


def main() -> None:
    """Train until the target or the last epoch."""
    request = cli.parse(BENCHMARK, sys.argv[1:], {})
    config = cli.configure(BENCHMARK, request)
    torch.manual_seed(request.settings.seed or 0)
    model = ResNet(width=config.width, blocks=config.blocks, num_classes=config.num_classes)
    initialize(model)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=1.0, momentum=config.opt_momentum, weight_decay=config.opt_weight_decay
    )
    train_batches, eval_batches = loaders(config, str(request.settings.data_dir))
    step, found = 0, []
    for _ in range(config.max_epochs):
        for images, labels in train_batches:
            for group in optimizer.param_groups:
                group["lr"] = trainer.learning_rate(config, step, len(train_batches))
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(images), labels, label_smoothing=config.label_smoothing)
            loss.backward()
            optimizer.step()
            assert loss.item() > 0
            step += 1
        found.append(top1(model, eval_batches))
        if found[-1] >= config.target:
            break
    print(json.dumps(found))


if __name__ == "__main__":
    main()
