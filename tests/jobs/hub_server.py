"""A Hugging Face hub on this machine, with faults: for the tests of evalmpi fetch.

Hub serves repositories given as {path: bytes}; files of a thousand bytes and more are "large": their hash is SHA-256 and
they are redirected to a second server (another origin), the storage. faults[path] is a list of what goes wrong, used up
one request after another:
    drop      the connection ends after half of the bytes      503, 429   that status
    short     the length promised is right, fewer bytes come   corrupt    one byte is another
    norange   a range is asked for and the whole file comes    long       more bytes than the file has
    416       the range cannot be had                          commit     another commit is named
"""
import hashlib
import http.server
import json
import threading
import urllib.parse

LARGE_BYTES = 1000


def git_hash(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_large(data):
    return len(data) >= LARGE_BYTES


def etag_of(data):
    return hashlib.sha256(data).hexdigest() if is_large(data) else git_hash(data)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.hub = hub
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # clients that end connections are part of the tests


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, path, data, headers=()):
        hub = self.server.hub
        fault = hub.next_fault(path)
        wanted = self.headers.get("Range")
        hub.ranges.append((path, wanted))
        if fault in ("503", "429"):
            return self.answer(int(fault), b"busy", [("Retry-After", "0")])
        if fault == "416":
            return self.answer(416)
        if fault == "corrupt":
            data = bytes([data[0] ^ 1]) + data[1:]
        if fault == "long":
            data = data + data
        start = int(wanted[len("bytes="):-1]) if wanted and fault != "norange" else 0
        self.send_response(206 if start else 200)
        for name, value in headers:
            self.send_header(name, value if (name, fault) != ("X-Repo-Commit", "commit") else "f" * 40)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        body = data[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault in ("drop", "short"):
            body = body[:len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)


class StorageHandler(Handler):
    def do_GET(self):
        if "Authorization" in self.headers:
            self.server.hub.leaked.append(self.path)
        name = urllib.parse.urlsplit(self.path).path[1:]
        path, data = self.server.hub.stored[name]
        self.send_file(path, data)


class HubHandler(Handler):
    def do_GET(self):
        hub = self.server.hub
        token = self.headers.get("Authorization", "")
        hub.requests.append((self.path, token))
        path = urllib.parse.urlsplit(self.path).path
        if path.startswith("/api/"):
            _, _, kind, owner, name, _, revision = path.split("/")
            return self.send_list(kind, f"{owner}/{name}", urllib.parse.unquote(revision), token)
        parts = urllib.parse.unquote(path)[1:].split("/")
        kind = parts.pop(0) if parts[0] == "datasets" else "models"
        repository, commit, file = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        data = hub.files_at(kind, repository, commit).get(file)
        if data is None:
            return self.answer(404, headers=[("X-Error-Code", "EntryNotFound")])
        headers = [("X-Repo-Commit", commit), ("ETag", f'"{etag_of(data)}"')]
        if not is_large(data):
            return self.send_file(file, data, headers)
        hub.stored[etag_of(data)] = (file, data)
        location = f"{hub.storage.url}/{etag_of(data)}?signature=secret"
        return self.answer(302, headers=headers + [("X-Linked-Etag", f'"{etag_of(data)}"'), ("Location", location)])

    def send_list(self, kind, repository, revision, token):
        hub = self.server.hub
        fault = hub.next_fault(repository)
        if fault:
            return self.answer(int(fault))
        if repository in hub.gated and token != "Bearer " + hub.token:
            return self.answer(401 if not token else 403, headers=[("X-Error-Code", "GatedRepo")])
        if (kind, repository) not in hub.repositories:
            return self.answer(401 if not token else 404, headers=[("X-Error-Code", "RepoNotFound")])
        found = hub.repositories[kind, repository].get(revision)
        if found is None:
            return self.answer(404, headers=[("X-Error-Code", "RevisionNotFound")])
        siblings = []
        for path, data in found.items():
            entry = {"rfilename": path, "size": len(data), "blobId": git_hash(data)}
            if is_large(data):
                entry["lfs"] = {"sha256": etag_of(data), "size": len(data), "pointerSize": 130}
            siblings.append(entry)
        return self.answer(200, json.dumps({"id": repository, "sha": hub.commit(kind, repository, revision), "siblings": siblings}).encode())


class Hub:
    def __init__(self):
        self.token = "hf_madeUpToken"
        self.repositories = {}  # (kind, id) -> {revision: {path: bytes}}
        self.gated = set()
        self.faults = {}
        self.stored = {}
        self.requests, self.ranges, self.leaked = [], [], []
        self.lock = threading.Lock()
        self.storage = Server(self, StorageHandler)
        self.server = Server(self, HubHandler)
        self.url = self.server.url

    def close(self):
        for server in (self.storage, self.server):
            server.shutdown()
            server.server_close()

    def add(self, kind, repository, files, revision="main"):
        self.repositories.setdefault((kind, repository), {})[revision] = files

    def commit(self, kind, repository, revision):
        return hashlib.sha1(f"{kind} {repository} {revision}".encode()).hexdigest()

    def files_at(self, kind, repository, commit):
        for revision, files in self.repositories[kind, repository].items():
            if self.commit(kind, repository, revision) == commit:
                return files
        return {}

    def next_fault(self, path):
        with self.lock:
            faults = self.faults.get(path)
            return faults.pop(0) if faults else None
