"""Spot it: what may be said about a picture that somebody uploads.

Cryptographic facts first, measured scores second, and never the word "real".
"""
