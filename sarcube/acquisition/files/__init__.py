"""Files of scenes, on this machine or a web server: the bytes that were asked for, or an error that says why not."""
