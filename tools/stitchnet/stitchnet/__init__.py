"""The three networks of StabStitch and StabStitch++: definition, checkpoints, ONNX, training."""
