"""A Kubernetes supply-chain lab: a real control plane, real admission, replayable scenarios."""

__version__ = "0.1.0"
