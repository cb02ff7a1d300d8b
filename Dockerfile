# docker build -t ntfyish .
# docker run -p 8080:8080 -v ntfyish:/var/lib/ntfyish ntfyish
#
# The first start prints an account, an app, and lines to try them with: docker logs.

FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY ntfyish ntfyish
RUN python -m venv /opt/ntfyish \
 && /opt/ntfyish/bin/pip install --no-cache-dir --disable-pip-version-check ".[mail,webpush]"

FROM python:3.12-slim
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/ntfyish --shell /usr/sbin/nologin ntfyish \
 && install -d -o ntfyish -g ntfyish -m 0750 /var/lib/ntfyish
COPY --from=build /opt/ntfyish /opt/ntfyish
ENV PATH=/opt/ntfyish/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NTFYISH_LISTEN_HTTP=:8080 \
    NTFYISH_DATA_DIR=/var/lib/ntfyish
USER 10001:10001
VOLUME /var/lib/ntfyish
EXPOSE 8080
# There is no curl in the image. Python opens no connection through a proxy for this.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=4); c.request('GET', '/v1/health'); raise SystemExit(c.getresponse().status != 200)"]
# The exec form: SIGTERM reaches the server itself, which then ends cleanly.
STOPSIGNAL SIGTERM
ENTRYPOINT ["ntfyish"]
CMD ["serve"]
