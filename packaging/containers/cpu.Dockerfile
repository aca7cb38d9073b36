# adcvsr on a CPU, x86-64 or arm64. From the repository's root:
#   docker build -f packaging/containers/cpu.Dockerfile -t adcvsr .
FROM python:3.12-slim-bookworm
COPY . /src
RUN python3 -m venv /opt/adcvsr \
    && /opt/adcvsr/bin/pip install --no-cache-dir '/src[cpu]' -c /src/constraints.txt \
    && rm -rf /src
ENV PATH=/opt/adcvsr/bin:$PATH ADCVSR_CACHE=/var/lib/adcvsr/cache
RUN useradd --system --create-home --home-dir /var/lib/adcvsr adcvsr
USER adcvsr
WORKDIR /var/lib/adcvsr
STOPSIGNAL SIGTERM
ENTRYPOINT ["adcvsr"]
CMD ["doctor"]
