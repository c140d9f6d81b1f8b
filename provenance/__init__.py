"""Prove it: media, marks, labels, manifests, release and verification.

Installs and can be audited without any face-swap code: nothing here loads a model.
"""
