# adcvsr on a Jetson with JetPack 7.2. There are no l4t images any more: boards follow the Arm server
# standard, and NVIDIA's arm64 image has CUDA and TensorRT inside. From the repository's root:
#   docker build -f packaging/containers/jetpack-7.2.Dockerfile -t adcvsr .
FROM nvcr.io/nvidia/pytorch:25.08-py3
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
# TensorRT's Python package is the image's: the environment sees the system's packages. That image
# holds every pip to its own versions, which an environment of ours must not be.
RUN python3 -m venv --system-site-packages /opt/adcvsr \
    && env -u PIP_CONSTRAINT /opt/adcvsr/bin/pip install --no-cache-dir '/src[cpu,tensorrt]' \
        -c /src/constraints.txt \
    && rm -rf /src
ENV PATH=/opt/adcvsr/bin:$PATH ADCVSR_CACHE=/var/lib/adcvsr/cache
RUN useradd --system --create-home --home-dir /var/lib/adcvsr --groups video adcvsr
USER adcvsr
WORKDIR /var/lib/adcvsr
STOPSIGNAL SIGTERM
ENTRYPOINT ["adcvsr"]
CMD ["doctor"]
