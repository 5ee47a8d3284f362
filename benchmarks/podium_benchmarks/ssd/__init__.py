"""SSD300 with a ResNet-34 backbone, object detection."""
