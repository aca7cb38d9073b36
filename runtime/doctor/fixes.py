"""The command that mends something on this platform.

pip where wheels exist, NVIDIA's index on a Jetson, apt where the library is part of the system;
docs/jetson.md says where each comes from.
"""

from __future__ import annotations

from ...host.machine import Host

JETSON_DOCS = "docs/jetson.md"
"""Page the fixes for a Jetson point at."""

WHEELS = {
    6: "https://pypi.jetson-ai-lab.io/jp6/cu126",
    7: "https://pypi.jetson-ai-lab.io/sbsa/cu130",
}
"""NVIDIA's indices of Jetson wheels by JetPack."""

JETSON_PYTHON = {6: (3, 10), 7: (3, 12)}
"""The Python each JetPack's TensorRT and NVIDIA's wheels are built for."""


def install_onnxruntime() -> str:
    """Install ONNX Runtime for the CPU."""
    return "pip install 'adcvsr[cpu]'"


def install_onnxruntime_gpu(host: Host) -> str:
    """Install ONNX Runtime with CUDA."""
    if index := WHEELS.get(host.jetpack_major or 0):
        return (
            f"pip uninstall -y onnxruntime; pip install --index-url {index} onnxruntime-gpu "
            f"({JETSON_DOCS})"
        )
    if host.machine not in {"x86_64", "AMD64"}:
        return f"no wheel for {host.machine} on the package index; build ONNX Runtime from source"
    return "pip uninstall -y onnxruntime; pip install 'adcvsr[cuda]'"


def reinstall_one_onnxruntime(host: Host) -> str:
    """Both builds are installed: take both away and put one back."""
    index = WHEELS.get(host.jetpack_major or 0)
    gpu = f"--index-url {index} onnxruntime-gpu" if index else "'adcvsr[cuda]'"
    return (
        "pip uninstall -y onnxruntime onnxruntime-gpu, then either "
        f"pip install 'adcvsr[cpu]' or pip install {gpu}"
    )


NUMPY_1 = "pip install 'numpy<2'"
"""Mends a wheel that was compiled for numpy 1."""


def install_tensorrt(host: Host) -> str:
    """Make `import tensorrt` work."""
    if host.is_jetson:
        return _show_jetpacks_tensorrt(host)
    if host.machine in {"x86_64", "AMD64"}:
        return "pip install 'adcvsr[tensorrt]'"
    return "install NVIDIA's TensorRT packages for Arm (SBSA)"


def _show_jetpacks_tensorrt(host: Host) -> str:
    """TensorRT is part of JetPack; Python has to be the right one and to see it."""
    wanted = JETSON_PYTHON.get(host.jetpack_major or 0)
    if wanted and host.python != wanted:
        version = "{}.{}".format(*wanted)
        return (
            f"JetPack's TensorRT is built for Python {version}, this is "
            f"{host.python[0]}.{host.python[1]}: python{version} -m venv --system-site-packages "
            f"({JETSON_DOCS})"
        )
    if not any(name.startswith("python3-libnvinfer") for name in host.packages):
        if host.container:
            return f"start from an image that brings TensorRT ({JETSON_DOCS}, containers)"
        return "sudo apt-get install nvidia-tensorrt python3-libnvinfer"
    if host.in_venv:
        return (
            "let this environment see JetPack's packages: sed -i "
            "'s/^include-system-site-packages = false/include-system-site-packages = true/' "
            f"{host.prefix}/pyvenv.cfg"
        )
    return f"sudo apt-get install --reinstall python3-libnvinfer ({JETSON_DOCS})"


DLA_COMPILER = "libnvdla_compiler.so"
"""A library of Jetson Linux that TensorRT of JetPack 6 needs to load, DLA or not."""


def bring_dla_compiler(host: Host) -> str:
    """Make a TensorRT load that wants the DLA's compiler; JetPack 7.2 has it in no package."""
    if host.jetpack_major != 6:
        other = "start from an image" if host.container else "take JetPack's own TensorRT, or one"
        return (
            f"this TensorRT is of JetPack 6, and {host.jetpack or 'this release'} has no "
            f"{DLA_COMPILER}: {other} made for it ({JETSON_DOCS})"
        )
    where = " on the board itself, then start the container again" if host.container else ""
    return f"sudo apt-get install nvidia-l4t-dla-compiler{where}"


CUDA_12_WHEELS = {
    "tensorrt": "pip install 'adcvsr[cpu]' tensorrt-cu12 'cuda-bindings==12.*' nvidia-ml-py",
    "rtx": "pip install 'adcvsr[cpu]' tensorrt-rtx-cu12 'cuda-bindings==12.*' nvidia-ml-py",
    "cuda": "pip install adcvsr 'onnxruntime-gpu[cuda,cudnn]<1.27' 'cuda-bindings==12.*' "
    "nvidia-ml-py",
}
"""In the place of the extras, whose wheels are of CUDA 13."""


def install_for_cuda_12() -> str:
    """Make a driver of CUDA 12 serve what is installed."""
    instead = "; ".join(f"[{extra}]: {line}" for extra, line in CUDA_12_WHEELS.items())
    return f"a driver from 580 on, or instead of the extras: {instead}"


def install_tensorrt_rtx(host: Host) -> str:
    """Install TensorRT-RTX, which exists for x86-64 alone."""
    if host.machine in {"x86_64", "AMD64"}:
        return "pip install 'adcvsr[rtx]'"
    return ""


def install_bindings(module: str) -> str:
    """Install what TensorRT sessions reach the GPU through; on a Jetson the extra is that alone."""
    return f"pip install 'adcvsr[{'rtx' if module == 'tensorrt_rtx' else 'tensorrt'}]'"


def install_driver(host: Host) -> str:
    """Give the machine a CUDA driver it can reach."""
    if host.container and host.is_jetson:
        return f"start the container with --runtime nvidia ({JETSON_DOCS}, containers)"
    if host.container:
        return "start the container with --gpus all and the NVIDIA Container Toolkit on the host"
    if host.is_jetson:
        return f"the driver is part of Jetson Linux: flash JetPack again ({JETSON_DOCS})"
    return "install NVIDIA's driver: https://www.nvidia.com/drivers"
