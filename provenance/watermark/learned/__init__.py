"""A mark that two small networks learn: an encoder writes it, a reader finds it.

It is not registered: no weights are shipped, because none were trained long enough to be compared
with the default mark. `provenance.watermark.train` trains, `export` writes ONNX files and their
card, `onnx_mark` marks and reads with them. Nothing here is imported by `provenance.watermark`, so
a verifier loads neither torch nor onnxruntime.
"""
