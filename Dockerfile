# devmesh as an image. `make image` prepares what it copies: the wheels of devmesh and of what it needs.
# To run it beside a Docker engine (on Linux, or inside Docker Desktop's machine):
#   docker run --rm --privileged --pid=host --network=host \
#     -v /var/run/docker.sock:/var/run/docker.sock -v "$PWD:$PWD" -w "$PWD" devmesh up
ARG BASE_IMAGE=python:3.13-slim
FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="devmesh" \
      org.opencontainers.image.description="Istio and Kiali on a laptop, in one process, with no Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY wheels /wheels
# pip's own wheel can run itself, so that the base needs Python alone.
RUN python3 "$(echo /wheels/pip-*.whl)/pip" install --no-cache-dir --no-index --find-links /wheels \
        --root-user-action ignore --break-system-packages devmesh \
    && rm -rf /wheels
ENV XDG_STATE_HOME=/var/lib PYTHONUNBUFFERED=1
VOLUME /var/lib/devmesh
ENTRYPOINT ["devmesh"]
CMD ["up"]
