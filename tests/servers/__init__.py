"""The real servers of the tests, all on loopback: a STAC API on PostgreSQL, an archive of signed files, its tokens.

    def test_it(archive, monkeypatch, tmp_path):
        items = archive.publish_items([scene(tmp_path, "S1")])  # files into the archive, items into the API
        archive.environment(monkeypatch)  # proxy and token service
        archive.token_seconds = 2
        archive.fail(items[0].assets["vv"].href, "503", times=2)
        ... sc.search(event, catalog=archive.api_url) ...
        assert archive.requests(items[0].assets["vv"].href)

The fixtures are in conftest.py: `archive` (an `archive.Archive`, empty and healed for each test) and `archive_servers`
(started once in each worker of xdist, which takes some seconds). Tests that use them are marked `servers`; where
`install.sh` could not install the servers they skip and say so, or fail if SARCUBE_TEST_SERVERS is "required".
"""
