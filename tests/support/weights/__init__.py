"""Weights in other forms than a folder of safetensors."""
