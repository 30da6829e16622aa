"""Says every message back. What the words below ask for, it does instead. Prints its port, and how connections ended."""

import asyncio

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def answer(socket, message):
    if message == "close":
        await socket.close(4001, "enough")
    elif message == "fragments":
        await socket.send(["a", "b" * 100_000, "c"])
    elif message == "ping":
        await (await socket.ping(b"there?"))
        await socket.send("it is there")
    else:
        await socket.send(message)


async def talk(socket):
    try:
        while True:
            await answer(socket, await socket.recv())
    except ConnectionClosed:
        print("closed", socket.close_code, flush=True)


async def main():
    # No pings but those that a client asks for.
    async with serve(talk, "127.0.0.1", 0, max_size=None, ping_interval=None, subprotocols=["chat"]) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
