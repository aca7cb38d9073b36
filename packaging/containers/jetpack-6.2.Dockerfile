# adcvsr on a Jetson with JetPack 6.2: CUDA, cuDNN and TensorRT are the image's, the driver is the
# board's. From the repository's root, on the board:
#   docker build -f packaging/containers/jetpack-6.2.Dockerfile -t adcvsr .
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
# TensorRT's Python package is the image's: the environment sees the system's packages.
RUN python3 -m venv --system-site-packages /opt/adcvsr \
    && /opt/adcvsr/bin/pip install --no-cache-dir '/src[cpu,tensorrt]' -c /src/constraints.txt \
    && rm -rf /src
ENV PATH=/opt/adcvsr/bin:$PATH ADCVSR_CACHE=/var/lib/adcvsr/cache
RUN useradd --system --create-home --home-dir /var/lib/adcvsr --groups video adcvsr
USER adcvsr
WORKDIR /var/lib/adcvsr
STOPSIGNAL SIGTERM
ENTRYPOINT ["adcvsr"]
CMD ["doctor"]
