"""A service manager's end of sd_notify(3): prints each line that it hears."""

import socket
import sys

heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
heard.bind(sys.argv[1])
while True:
    print(heard.recv(4096).decode(), end="", flush=True)
