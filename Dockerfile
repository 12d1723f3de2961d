# The web app with the light edge package alone: docker build -t facetell . && docker run -p 7860:7860 facetell
FROM python:3.12-slim
RUN useradd --create-home facetell
WORKDIR /home/facetell/app
COPY --chown=facetell . .
RUN pip install --no-cache-dir ".[web,heif]"
USER facetell
WORKDIR /home/facetell
EXPOSE 7860
# 401: it lives, and asks for the password.
HEALTHCHECK --interval=30s --start-period=30s CMD ["python", "-c", "import http.client as h; \
    c = h.HTTPConnection('127.0.0.1', 7860, timeout=5); c.request('GET', '/v1/health'); \
    raise SystemExit(c.getresponse().status not in (200, 401))"]
# FACETELL_AUTH=NAME:PASSWORD asks for a password.
CMD ["facetell", "serve", "--host", "0.0.0.0"]
