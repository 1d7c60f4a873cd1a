# One image that trains and serves: docker run IMAGE train | serve
#
#   docker build -t factorbox .
#   docker build -t factorbox --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .    # for NVIDIA GPUs
#
# Layers go from what rarely changes to the code, so that a change to the code installs nothing again.
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS python
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*

FROM python AS packages
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates python3-venv
# Where the torch line, and no other, is installed from. Empty: from where pip finds all the rest.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY container/requirements.txt /tmp/requirements.txt
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
        "$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' /tmp/requirements.txt)" \
    && /opt/venv/bin/pip install --no-cache-dir -r /tmp/requirements.txt \
    && /opt/venv/bin/pip check
# The JavaScript of the report's charts, and then away with the 84 MB that made it.
COPY container/factorbox/report/vega.py /tmp/vega.py
RUN /opt/venv/bin/python /tmp/vega.py && /opt/venv/bin/pip uninstall -y vl-convert-python pip
# Headers, command-line tools and the packages' own tests: a third of what was installed, and never imported.
RUN cd /opt/venv/lib/python3.11/site-packages \
    && rm -rf torch/include torch/share torch/test pyarrow/include pyarrow/src \
    && find torch/bin -type f ! -name torch_shm_manager -delete \
    && find . -name '*.a' -delete \
    && find numba numpy pyarrow sympy networkx mpmath -type d -name tests -prune -exec rm -rf {} +

FROM python
COPY --from=packages /opt/venv /opt/venv
# A GPU is used where the runtime passes one in and torch was built for it. torch makes its cache folder as soon as
# deterministic sums are asked for: in memory, since nothing else need be writable.
ENV PATH=/opt/program:/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
WORKDIR /opt/program
COPY container/train container/serve ./
COPY container/factorbox ./factorbox
# Bytecode and machine code are made here, for a file system that is read-only later and users who are not root.
RUN chmod -R a+rX . && chmod a+x train serve \
    && python3 -m compileall -q factorbox \
    && python3 -m factorbox.precompile
EXPOSE 8080
CMD ["serve"]
