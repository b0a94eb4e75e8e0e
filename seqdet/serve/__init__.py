"""The live page: a server and its static files, which know a session only by `serve.session`."""
