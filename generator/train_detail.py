"""Train MDRN: `python -m generator.train_detail --out FOLDER --release`.

The network learns to undo what a swap does to fine detail: pictures are blurred, shrunk, warped
and compressed anew at every step, and it is asked for what they were. What it is shown beside them
is never the answer itself, or it would learn to paste: another view of the same person laid on
the picture (`view`), the target on which somebody was laid (`swap`), the picture before a true swap
(`scene`). A run leaves `checkpoint.safetensors`, `metrics.jsonl` and `ledger.jsonl` in its folder
and goes on from there, on a CPU to the bit. Refused: pictures the data ledger does not admit, and
checkpoints of other runs. Stopped: runs that diverge.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from generator.detail_samples import SampleSet, build_samples, degrade_batch
from generator.faces import open_analyser
from generator.mdrn import Mdrn, haar_split
from generator.scalars import ScalarLog
from policies.digest import sha256_hex
from policies.errors import Error
from policies.files import replace_file
from provenance.data_ledger import Purpose, ledger_bytes
from provenance.watermark.learned.checkpoint import read_checkpoint, restore, write_checkpoint
from provenance.watermark.learned.errors import TrainingRefused, TrainingStopped
