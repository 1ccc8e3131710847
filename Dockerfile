# `migrate` in an image of its own, for the Job of `migrate manifests job`. For one platform, or for both:
#   docker build --tag REGISTRY/cni-migrate:VERSION . && docker push REGISTRY/cni-migrate:VERSION
#   docker buildx build --platform linux/amd64,linux/arm64 --tag REGISTRY/cni-migrate:VERSION --push .

# The index of python:3.12-slim, of every platform. A newer one: docker buildx imagetools inspect python:3.12-slim
ARG BASE=docker.io/library/python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea

# The wheel is the same on every platform: it is built on the builder's own.
FROM --platform=$BUILDPLATFORM ${BASE} AS wheel
WORKDIR /source
COPY constraints-build.txt ./
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement constraints-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY docs/man ./docs/man
COPY states ./states
COPY templates ./templates
COPY src ./src
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel . && \
    pip install --no-cache-dir --no-deps --no-index --prefix /install /wheel/*.whl

FROM ${BASE}
# Dependencies change seldom and are large: their layer comes first, and stays when only the source has changed. Files come
# by COPY, never by a bind mount: Buildah and Podman take a layer from the cache although what was mounted has changed.
COPY constraints.txt /usr/local/share/cni-migrate/constraints.txt
RUN pip install --no-cache-dir --no-deps --only-binary :all: --require-hashes \
    --requirement /usr/local/share/cni-migrate/constraints.txt
COPY --from=wheel /install /usr/local
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cni-migrate" \
      org.opencontainers.image.description="Moves a live Kubernetes cluster from Canal to Cilium, node by node" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/python:3.12-slim"
# Any number but 0 will do: there is nothing to write.
USER 65532:65532
ENTRYPOINT ["migrate"]
