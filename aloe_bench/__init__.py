"""aloe-bench: robustness benchmark for medical vision-language models."""

__version__ = "0.1.0"
