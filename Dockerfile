# One image for the target, the vehicle gateway, Locust and launchday itself.
FROM python:3.13.7-slim-trixie
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 PYTHONPATH=/app PATH=/opt/venv/bin:$PATH
WORKDIR /app
COPY requirements.lock ./
RUN python -m venv /opt/venv \
    && pip install --no-deps --require-hashes --only-binary :all: -r requirements.lock
# The layout is the checkout's, so that paths mean the same in and out of a container.
COPY pyproject.toml README.md launchday.tom[l] ./
COPY src ./src
RUN pip install --no-deps --no-build-isolation -e .
COPY target_service ./target_service
COPY locustfiles ./locustfiles
COPY chaos ./chaos
COPY dashboards ./dashboards
COPY deploy ./deploy
# A new named volume takes owner and mode from the directory it covers. Modules are compiled
# here because the containers' file systems are read-only.
RUN python -m compileall -q src target_service locustfiles chaos \
    && useradd --uid 10001 --no-create-home --home-dir /tmp launchday \
    && install -d -o launchday -g launchday /app/runs /passwords /journal /state
USER 10001:10001
CMD ["launchday", "--help"]
