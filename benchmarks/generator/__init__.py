"""How well faces are swapped and restored, on people who were never trained on."""
