"""Catalogues of scenes: STAC APIs, folders and files in JSON, stac-geoparquet, collections in memory."""
