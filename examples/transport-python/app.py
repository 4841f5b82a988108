"""A transport for secure-log in Python: world `transport-provider` of wit/worlds.wit, for componentize-py.

HTTP over a plain socket (wasi:sockets), to an address of this machine: there is no TLS here, and the token goes along.
"""

import json
import os
import socket
from http.client import HTTPConnection
from ipaddress import ip_address
from urllib.parse import urlsplit

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.transport import (
    RpcFailure, TransportError_Denied, TransportError_Failed, TransportError_Invalid, TransportError_Unavailable,
)

LARGEST = 64 << 20
SECONDS = 30


class Transport(exports.Transport):
    def rpc(self, method, params_json):
        host, port, path = address()
        request = f'{{"jsonrpc":"2.0","id":1,"method":{json.dumps(method)},"params":{params_json}}}'
        headers = {"Content-Type": "application/json"}
        token = os.environ.get("SECURE_LOG_RPC_TOKEN")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = HTTPConnection(host, port)
        try:
            # A socket of its own, since HTTPConnection would look the address up, which hosts do not allow by themselves.
            connection.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            connection.sock.settimeout(SECONDS)
            connection.sock.connect((host, port))
            connection.request("POST", path, request.encode(), headers)
            answer = connection.getresponse()
            status, body = answer.status, answer.read(LARGEST + 1)
            if len(body) > LARGEST or answer.length:
                raise OSError("the answer is too large" if len(body) > LARGEST else "the answer ends early")
            body = body.decode()
        except Exception as error:
            # Whatever it is: nobody knows what the far end did, and what leaves this method otherwise is a trap.
            # Of errors that are not about the connection only the name: others may show the token.
            why = error if isinstance(error, OSError) else type(error).__name__
            raise Err(TransportError_Unavailable(f"no answer of {host}:{port} to {method}: {why}"))
        finally:
            connection.close()
        if status in (401, 403):
            raise Err(TransportError_Denied(f"{host}:{port} answered {status}: SECURE_LOG_RPC_TOKEN is not its token"))
        if 300 <= status < 400:
            reason = f"{host}:{port} answered {status}; give the address that it redirects to"
            raise Err(TransportError_Invalid(f"SECURE_LOG_RPC_URL: {reason}"))
        return result(status, body, token)


def result(status, body, token):
    try:
        answer = json.loads(body)
        if "result" in answer:
            return json.dumps(answer["result"])
        body = json.dumps(answer["error"])
    except (ValueError, LookupError, TypeError):
        pass  # Something in between answered: its status and text say what.
    # Some servers repeat what they were sent.
    raise Err(TransportError_Failed(RpcFailure(status, body.replace(token, "*") if token else body)))


def address():
    """Of SECURE_LOG_RPC_URL. It is not repeated in errors: it may hold a password."""
    try:
        url = urlsplit(os.environ.get("SECURE_LOG_RPC_URL", ""))
        if url.scheme == "http" and ip_address(url.hostname or "").is_loopback and url.username is None:
            return url.hostname, url.port or 80, url.path or "/"
    except ValueError:
        pass
    reason = "SECURE_LOG_RPC_URL: give http://127.0.0.1:PORT/; this transport speaks no TLS, and so with no other machine"
    raise Err(TransportError_Invalid(reason))
