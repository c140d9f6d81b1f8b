"""May we? Consent, facts, decision, warrant and log: everything that has to hold before a pixel.

Depends on pydantic, cryptography, SQLAlchemy, cedarpy and rfc8785; never on a library for images or
networks.
"""
