"""Frozen networks: weights, VSFA-CNN and ResNet pooling, Score-CAM, and how they are made fast."""
