"""Mask R-CNN with ResNet-50 and a feature pyramid: objects, their boxes and their masks."""
