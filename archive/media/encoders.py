"""The arguments that make ffmpeg encode H.264 with one encoder or another; pure.

All sets make the same promise: key frames where the source has them, closed groups, 8 bit 4:2:0, one frame out for
each frame in. The flags of the hardware encoders are those of FFmpeg's documentation ("Codecs", "Hardware
acceleration") and of ``ffmpeg -h encoder=…``; only ``x264`` runs without a device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

EncoderName: TypeAlias = Literal["x264", "nvenc", "qsv", "vaapi", "v4l2m2m"]
Options: TypeAlias = dict[str, object]

ENCODER_NAMES: tuple[EncoderName, ...] = get_args(EncoderName)
# Slowest last; the first is not the default: x264's "ultrafast" leaves out what makes H.264 small.
PRESETS: dict[EncoderName, tuple[str, ...]] = {
    "x264": ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"),
    "nvenc": ("p1", "p2", "p3", "p4", "p5", "p6", "p7"),
    "qsv": ("veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"),
    # These two have nothing of the kind.
    "vaapi": (),
    "v4l2m2m": (),
}
PRESET_DEFAULTS: dict[EncoderName, str] = {"x264": "veryfast", "nvenc": "p4", "qsv": "medium"}
QUALITY_WORST = 51


@dataclass(frozen=True, slots=True)
class Encoder:
    """One encoder and how it is set.

    ``preset``: one of ``PRESETS``, the encoder's default if ``None``. ``quality``: as H.264's quantiser, 0 to 51, lower
    is better; x264 and nvenc hold it below the rendition's bits per second, the others aim at three quarters of those.
    ``device``: the DRM render node that vaapi and qsv open.
    """

    name: EncoderName = "x264"
    preset: str | None = None
    quality: int = 23
    device: str = "/dev/dri/renderD128"

    def global_arguments(self) -> tuple[str, ...]:
        """What opens the device, once for all outputs."""
        if self.name == "vaapi":
            # Names the device that hwupload uses, too.
            return ("-vaapi_device", self.device)
        if self.name == "qsv":
            return ("-init_hw_device", f"qsv=hw,child_device={self.device}", "-filter_hw_device", "hw")
        return ()

    def filters(self) -> tuple[tuple[str, Options], ...]:
        """What follows the scaling of each picture: a hardware encoder may want it in the device's memory."""
        if self.name == "vaapi":
            return (("format", {"pix_fmts": "nv12"}), ("hwupload", {}))
        if self.name == "qsv":
            # The pool of surfaces is fixed; FFmpeg's documentation gives 64 more for encoders that look ahead.
            return (("format", {"pix_fmts": "nv12"}), ("hwupload", {"extra_hw_frames": 64}))
        return ()

    def options(self, bits_per_second_max: int, *, threads: int) -> Options:
        """The options of one output with a picture of at most so many bits per second."""
        shared: Options = {
            "maxrate": bits_per_second_max,
            "bufsize": bits_per_second_max * 2,
            # Key frames where the source has them, thus at every segment's start, and nowhere else.
            "force_key_frames": "source",
            "g": 600,
            # Every group of pictures decodes alone: chunks are made apart and players switch between renditions.
            "flags": "+cgop",
        }
        return shared | self._own(bits_per_second_max, threads)

    def _own(self, bits_per_second_max: int, threads: int) -> Options:
        preset = self.preset or PRESET_DEFAULTS.get(self.name)
        average = bits_per_second_max * 3 // 4
        match self.name:
            case "x264":
                return {
                    "c:v": "libx264",
                    "preset": preset,
                    # Every decoder plays 8 bit 4:2:0; a camera's 4:2:2 would play almost nowhere.
                    "pix_fmt": "yuv420p",
                    # Quality is constant, up to what a viewer's line for this rendition must carry.
                    "crf": self.quality,
                    "forced-idr": 1,
                    "sc_threshold": 0,
                    "threads": threads,
                }
            case "nvenc":
                return {
                    "c:v": "h264_nvenc",
                    "preset": preset,
                    "pix_fmt": "yuv420p",
                    # Constant quality is its variable rate without a target: 2 Mbit/s would be the default one.
                    "rc": "vbr",
                    "cq": self.quality,
                    "b:v": 0,
                    "forced-idr": 1,
                    "no-scenecut": 1,
                }
            case "qsv":
                return {"c:v": "h264_qsv", "preset": preset, "b:v": average, "forced_idr": 1, "adaptive_i": 0}
            case "vaapi":
                # A forced key frame is always an IDR frame here.
                return {"c:v": "h264_vaapi", "rc_mode": "VBR", "b:v": average, "idr_interval": 0}
            case "v4l2m2m":
                # It finds its device itself, and asks the driver for each forced key frame.
                return {"c:v": "h264_v4l2m2m", "pix_fmt": "yuv420p", "b:v": average}


X264 = Encoder()
