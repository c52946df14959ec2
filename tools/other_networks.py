"""Networks of transformers, ultralytics and torchvision's other tasks, from random weights, for make_spaces_table.py.

    pip install transformers ultralytics

Nothing is downloaded. Configurations are the library's defaults but where a default is too large to be built here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

_WORDS = torch.ones(2, 32, dtype=torch.long)
_TEXT = {"input_ids": _WORDS, "attention_mask": _WORDS}
_ALONE = {"input_ids": _WORDS, "use_cache": False}
_BOTH = {"decoder_input_ids": _WORDS[:, :16], "use_cache": False}


@dataclass(frozen=True, slots=True)
class Other:
    """A network that `--space` has no name for.

    Attributes:
        make: makes it.
        example: what it is called with.
        part: what is searched of it.
    """

    make: Callable[[], nn.Module]
    example: Any
    part: str = ""


def _transformers(model: str, config: str, **settings: Any) -> nn.Module:
    import transformers

    transformers.logging.set_verbosity_error()
    network: nn.Module = getattr(transformers, model)(getattr(transformers, config)(**settings))
    return network


def _image(pixels: int = 224) -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.zeros(2, 3, pixels, pixels)}


@dataclass(frozen=True, slots=True)
class _Family:
    """Networks of transformers whose names are made of one word."""

    task: str
    example: Any
    settings: dict[str, Any] = field(default_factory=dict)

    def of(self, word: str) -> Other:
        return Other(
            partial(_transformers, f"{word}{self.task}", f"{word}Config", **self.settings), self.example
        )


_PICTURES = _Family("ForImageClassification", _image())
_TEXTS = _Family("ForSequenceClassification", _TEXT)
_SMALL = {"hidden_size": 512, "num_hidden_layers": 8, "vocab_size": 8000}
TRANSFORMERS: dict[str, Other] = {
    **{word: _TEXTS.of(word) for word in ("Bert", "DistilBert", "Roberta", "Electra")},
    **{
        word: _PICTURES.of(word)
        for word in (
            "ViT", "DeiT", "Beit", "Dinov2", "Swin", "ConvNext", "ConvNextV2", "ResNet", "RegNet", "MobileNetV2",
            "PoolFormer", "Levit",
        )
    },
    "MobileViT": _Family("ForImageClassification", _image(256)).of("MobileViT"),
    "EfficientNet": _Family("ForImageClassification", _image(), {"image_size": 224}).of("EfficientNet"),
    "Segformer": _Family("ForSemanticSegmentation", _image()).of("Segformer"),
    "DPT": _Family("ForDepthEstimation", _image(384)).of("DPT"),
    "Yolos": _Family("ForObjectDetection", _image(512)).of("Yolos"),
    "CLIP": _Family("Model", {**_image(), "input_ids": _WORDS}).of("CLIP"),
    "GPT2": _Family("LMHeadModel", _ALONE).of("GPT2"),
    "Llama, 512 wide and 8 layers": _Family(
        "ForCausalLM", _ALONE, {**_SMALL, "intermediate_size": 1376, "num_attention_heads": 8}
    ).of("Llama"),
    "Mamba, 512 wide and 8 layers": _Family("ForCausalLM", _ALONE, _SMALL).of("Mamba"),
    "T5": _Family("ForConditionalGeneration", {"input_ids": _WORDS, **_BOTH}).of("T5"),
    "Whisper": _Family(
        "ForConditionalGeneration", {"input_features": torch.zeros(2, 80, 3000), **_BOTH}
    ).of("Whisper"),
    "Wav2Vec2": _Family("ForSequenceClassification", {"input_values": torch.zeros(2, 16000)}).of("Wav2Vec2"),
    "AST": _Family("ForAudioClassification", {"input_values": torch.zeros(2, 1024, 128)}).of("AST"),
    "Timesformer": _Family(
        "ForVideoClassification", {"pixel_values": torch.zeros(2, 8, 3, 224, 224)}
    ).of("Timesformer"),
    "VideoMAE": _Family(
        "ForVideoClassification", {"pixel_values": torch.zeros(2, 16, 3, 224, 224)}
    ).of("VideoMAE"),
}  # fmt: skip


def _ultralytics(name: str) -> nn.Module:
    from ultralytics.nn import tasks

    _, _, task = name.partition("-")
    kinds = {
        "seg": "Segmentation",
        "pose": "Pose",
        "cls": "Classification",
        "obb": "OBB",
        "l": "RTDETRDetection",
    }
    network: nn.Module = getattr(tasks, f"{kinds.get(task, 'Detection')}Model")(f"{name}.yaml", verbose=False)
    return network


ULTRALYTICS: dict[str, Other] = {
    name: Other(partial(_ultralytics, name), (3, 224, 224) if name.endswith("cls") else (3, 320, 320))
    for name in (
        "yolov5n", "yolov8n", "yolov8n-seg", "yolov8n-cls", "yolov9t", "yolov10n", "yolo11n", "yolo11n-pose",
        "yolo11n-obb", "yolo12n", "yolo26n", "rtdetr-l",
    )
}  # fmt: skip


def _of_torchvision(room: str, name: str) -> nn.Module:
    from importlib import import_module

    make = getattr(import_module(f"torchvision.models.{room}"), name)
    network: nn.Module = make(weights=None, **({"weights_backbone": None} if room == "detection" else {}))
    return network


_FRAMES = {"mvit_v1_b": 224, "mvit_v2_s": 224, "swin3d_t": 224, "s3d": 224}
TORCHVISION: dict[str, Other] = {
    **{
        f"{name}, part `backbone`": Other(
            partial(_of_torchvision, "detection", name), (3, 320, 320), "backbone"
        )
        for name in (
            "fasterrcnn_resnet50_fpn", "fcos_resnet50_fpn", "keypointrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn",
            "retinanet_resnet50_fpn", "ssd300_vgg16", "ssdlite320_mobilenet_v3_large",
        )
    },
    **{
        name: Other(partial(_of_torchvision, "video", name), (3, 16, *[_FRAMES.get(name, 112)] * 2))
        for name in ("mc3_18", "mvit_v1_b", "mvit_v2_s", "r2plus1d_18", "r3d_18", "s3d", "swin3d_t")
    },
    "raft_small": Other(partial(_of_torchvision, "optical_flow", "raft_small"), ((3, 128, 128), (3, 128, 128))),
}  # fmt: skip

OTHERS: dict[str, dict[str, Other]] = {
    "transformers": TRANSFORMERS,
    "ultralytics": ULTRALYTICS,
    "torchvision, other tasks": TORCHVISION,
}
