# `migrate` in an image of its own, for the Job of `migrate manifests job`:
#   docker build -t REGISTRY/cni-migrate:VERSION . && docker push REGISTRY/cni-migrate:VERSION
ARG PYTHON=docker.io/library/python:3.12-slim

FROM ${PYTHON} AS wheels
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY states ./states
COPY templates ./templates
RUN pip wheel --no-cache-dir --wheel-dir /wheels .

FROM ${PYTHON}
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links=/wheels cni-migrate
# Any number but 0 will do: there is nothing to write.
USER 65532:65532
ENTRYPOINT ["migrate"]
