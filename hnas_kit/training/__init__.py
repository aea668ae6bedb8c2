"""Single-path training with its schedule of phases and its checkpoints."""

from hnas_kit.names import PHASED, PRECISIONS
from hnas_kit.training.checkpoints import Checkpoints
from hnas_kit.training.pretraining import pretrain
from hnas_kit.training.schedule import PHASES, Schedule
from hnas_kit.training.step import autocast, pick_device, train
