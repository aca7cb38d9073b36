# adcvsr with TensorRT-RTX on x86-64 with an RTX card; driver and libcuda come from the host through
# the NVIDIA runtime. From the repository's root:
#   docker build -f packaging/containers/rtx.Dockerfile -t adcvsr .
FROM python:3.12-slim-bookworm
COPY . /src
RUN python3 -m venv /opt/adcvsr \
    && /opt/adcvsr/bin/pip install --no-cache-dir '/src[cpu,rtx]' -c /src/constraints.txt \
    && rm -rf /src
ENV PATH=/opt/adcvsr/bin:$PATH ADCVSR_CACHE=/var/lib/adcvsr/cache \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
RUN useradd --system --create-home --home-dir /var/lib/adcvsr adcvsr
USER adcvsr
WORKDIR /var/lib/adcvsr
STOPSIGNAL SIGTERM
ENTRYPOINT ["adcvsr"]
CMD ["doctor"]
