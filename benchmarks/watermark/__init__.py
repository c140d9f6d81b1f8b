"""What the invisible mark survives beside other tools, what it costs, how often it claims too much.

`python -m benchmarks.watermark` runs it; `docs/benchmarks/watermark.md` shows what it found.
"""
