"""What `upscale` makes of each of the 77 files of clips/robust: a right output or one error."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any


@dataclass(frozen=True)
class Good:
    """A right output."""

    frames: int
    size: tuple[int, int]
    """Of the input, as stored."""
    rotation: int = 0
    """Degrees counter-clockwise, as the frames are tagged."""
    aspect: Fraction = Fraction(1)
    times: str = "kept"
    """`kept`: as independently decoded, from 0 on in broadcast containers; `made`: 1/25 s apart, as
    the stream has none; `repaired`: increasing, where the file's run backwards."""
    says: str = ""
    """A part of one of the notes."""
    stream: int = 0
    """Index among the file's video streams."""
    pixels: str = "yuv420p"
    """Format of the output: bits and colour that are kept."""
    hdr: str | None = None
    """Which HDR is kept, `PQ` or `HLG`."""


@dataclass(frozen=True)
class Refused:
    """One line and exit 1."""

    says: str
    """A pattern of the line."""


def hdr(frames: int, size: tuple[int, int], kind: str, **more: Any) -> Good:
    """Kept, in ten bits."""
    return Good(frames, size, pixels="yuv420p10le", hdr=kind, **more)


NO_FRAME = Refused(r"no frame of its .* video could be decoded")
NO_FILE = Refused("cannot be opened as video")

ROBUST: dict[str, Good | Refused] = {
    "audio_only_ac4_unknown_codec.mp4": Refused("has no video stream; it holds: audio #0"),
    "audio_only_opus.mp4": Refused("has no video stream; it holds: audio #0"),
    "av1_1080x720.mp4": Good(30, (1080, 720)),
    "av1_10bit_pq_1080p60.mp4": hdr(60, (1920, 1080), "PQ", says="libx265 encodes"),
    "av1_640x360.mkv": Good(125, (640, 360)),
    "avi_h264_nonmonotonic_pts.avi": Good(25, (320, 240), aspect=Fraction(4, 3), times="made"),
    "avi_mpeg4_960x400.avi": Good(96, (960, 400)),
    "bad_case_1185230.mp4": NO_FRAME,
    "bad_chunk_out_of_range.mp4": NO_FILE,
    "bad_empty_0byte.webm": NO_FILE,
    "bad_encrypted_cenc.mp4": NO_FRAME,
    "bad_header_only_bipbop.mp4": NO_FRAME,
    "bad_invalid_bitstream_vp9.webm": NO_FRAME,
    "bad_invalid_userdata.mp4": NO_FRAME,
    "bad_no_timescale.mp4": Good(170, (320, 240), times="repaired", says="makes no sense"),
    "bad_sideloaded_track.mp4": NO_FILE,
    "bad_sps_subset.264": NO_FILE,
    "bad_zero_empty_stsc.mp4": NO_FRAME,
    "bad_zero_size_video.ts": NO_FRAME,
    "cropped_300x168.jsv": Good(50, (300, 168), times="made"),
    "cut_flv_half.flv": Good(3, (1080, 720), says="1 damaged packet"),
    "cut_frag_mp4_70pct.mp4": Good(17, (1080, 720), says="1 damaged packet"),
    "cut_h264_half.264": Good(11, (1280, 720), times="made", says="damaged"),
    "cut_mp4_60pct.mp4": Good(7, (1080, 720), says="1 damaged packet"),
    "cut_webm_25pct.webm": Good(29, (960, 540)),
    "dolbyvision_rot90.mov": hdr(
        4, (1280, 720), "HLG", rotation=270, says="its base layer, which is HLG, is upscaled"
    ),
    "editlist_854x480.mp4": Good(225, (854, 480), aspect=Fraction(1280, 1281)),
    "flip_h264_60bits.264": Good(19, (1280, 720), times="made", says="frames are damaged"),
    "flip_mp4_80bits.mp4": Good(30, (1080, 720), says="frames are damaged"),
    "flv_1080x720.flv": Good(30, (1080, 720)),
    "frag_1080x720.mp4": Good(30, (1080, 720)),
    "full_range_bt709_1280x720.mp4": Good(30, (1280, 720)),
    "h264_10bit_200x200.mp4": Good(30, (200, 200), says="kept: 10 bits", pixels="yuv420p10le"),
    "h264_444_1280x720.mp4": Good(280, (1280, 720), says="kept: 4:4:4", pixels="yuv444p"),
    "h264_gbrp_2x2.mp4": Good(3, (2, 2)),
    "h264_hdr10_full_2x2.mp4": Refused("encoder .libx265. refuses 8x8.*--encoder libx264 does"),
    "hevc_10bit_200x200.mp4": Good(30, (200, 200), says="kept: 10 bits", pixels="yuv420p10le"),
    "hlg10_colorchart_1080p.mp4": hdr(9, (1920, 1080), "HLG"),
    "hlg10_rot90_color_info.mp4": hdr(9, (1920, 1080), "HLG", rotation=270, says="Dolby Vision"),
    "interlaced_dv_pal_720x576.mov": Good(
        25, (720, 576), aspect=Fraction(59, 54), says="deinterlaced"
    ),
    "interlaced_xdcam_1080i50.mov": Good(25, (1920, 1080), says="deinterlaced"),
    "interlaced_xdcamhd_1080i60_anamorphic.mov": Good(
        25, (1440, 1080), aspect=Fraction(4, 3), says="deinterlaced"
    ),
    "lost_idr.264": Good(70, (176, 144), times="made"),
    "lost_p.264": Good(99, (176, 144), times="made"),
    "mdat_too_long.mp4": Good(30, (1080, 720)),
    "metadata_not_utf8_phone.3gp": Good(71, (352, 288), aspect=Fraction(12, 11)),
    "mjpeg_422_full.mov": Good(25, (320, 240), says="kept: 4:2:2", pixels="yuv422p"),
    "mkv_ssa_subs_1080x720.mkv": Good(30, (1080, 720), says="left out"),
    "no_duration_vp9.webm": Good(74, (1280, 720), says="alpha"),
    "odd_161x121_vp9.webm": Good(30, (161, 121)),
    "odd_914x686_sar_hevc.ts": Good(16, (914, 686), aspect=Fraction(2740, 2739)),
    "one_pixel_1x1.mp4": Good(5, (1, 1), pixels="yuv444p"),
    "png_rgba.mov": Good(25, (320, 240), says="alpha"),
    "prores422hq_10bit.mov": Good(25, (320, 240), says="kept: 10 bits", pixels="yuv422p10le"),
    "ps_mpeg2_640x426.ps": Good(3, (640, 426), says="broadcast clock"),
    "qtrle_argb.mov": Good(25, (320, 240), says="alpha"),
    "resolution_change_midstream.264": Good(
        6, (352, 288), times="made", says="the size changes to 640x480 at frame 2"
    ),
    "rot180_internal_1280x720.mp4": Good(149, (1280, 720), rotation=180),
    "rot180_vfr_fire2_1280x720.mp4": Good(25, (1280, 720), rotation=180),
    "rot90_hevc_full_metadata_track.mp4": Good(3, (1920, 1080), rotation=270, says="left out"),
    "rot90_tiny_100x60.mp4": Good(1, (100, 60), rotation=270),
    "rot90_video1_352x288.mp4": Good(23, (352, 288), rotation=90),
    "sar_2x1_640x360.mp4": Good(150, (640, 360), aspect=Fraction(2)),
    "silent_tiny_av1_64x64.mp4": Good(1, (64, 64)),
    "small_152x100.264": Good(10, (152, 100), times="made"),
    "text_named.mp4": NO_FILE,
    "transparent_vp9.webm": Good(150, (200, 200), says="alpha"),
    "ts_hevc_854x480.ts": Good(30, (854, 480), says="broadcast clock"),
    "ts_mpeg2_640x426.ts": Good(3, (640, 426), says="broadcast clock"),
    "uhd8k_8frames_hevc.mp4": Refused("refuses 30720x17280"),
    "vfr_hdr10_1920x1080_10bit.mp4": hdr(28, (1920, 1080), "PQ", says="HDR10+"),
    "vfr_motionphoto_2tracks_1024x768.mp4": Good(58, (1024, 768), rotation=270, says="left out"),
    "vfr_screen_3026x1386.mp4": Good(63, (3026, 1386)),
    "vfr_slowmotion_1280x720.mp4": Good(7, (1280, 720)),
    "vp8_bbb_1280x720.webm": Good(24, (1280, 720)),
    "vp9_10bit_426x240.webm": Good(72, (426, 240), says="kept: 10 bits", pixels="yuv420p10le"),
    "wrong_ext_webm_named.mp4": Good(22, (960, 540)),
}

QUICK = (
    "audio_only_ac4_unknown_codec.mp4",
    "avi_h264_nonmonotonic_pts.avi",
    "bad_encrypted_cenc.mp4",
    "bad_sps_subset.264",
    "dolbyvision_rot90.mov",
    "h264_10bit_200x200.mp4",
    "h264_gbrp_2x2.mp4",
    "lost_idr.264",
    "odd_161x121_vp9.webm",
    "one_pixel_1x1.mp4",
    "prores422hq_10bit.mov",
    "ps_mpeg2_640x426.ps",
    "resolution_change_midstream.264",
    "rot90_tiny_100x60.mp4",
)
"""A representative quick subset; all of them are marked slow."""
