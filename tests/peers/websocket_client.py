"""Talks to websocket_server.py, at the address that it is given."""

import asyncio
import os
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

MEGABYTE = 1 << 20


async def talk(compression):
    url = f"ws://{sys.argv[1]}/ws"
    async with connect(url, max_size=None, ping_interval=None, compression=compression, subprotocols=["chat"]) as socket:
        assert socket.subprotocol == "chat", socket.subprotocol
        for message in ["hello", "", "ü" * (MEGABYTE // 2), b"\x00\xff", os.urandom(MEGABYTE)]:
            await socket.send(message)
            assert await socket.recv() == message, len(message)
        # In pieces, in both directions.
        await socket.send(["one ", "message ", "x" * MEGABYTE])
        assert await socket.recv() == "one message " + "x" * MEGABYTE
        await socket.send("fragments")
        pieces = [piece async for piece in socket.recv_streaming()]
        assert "".join(pieces) == "a" + "b" * 100_000 + "c" and len(pieces) > 2, len(pieces)
        # Many at once, each in its place.
        messages = [os.urandom(size) for size in range(0, 20_000, 100)]

        async def send():
            for message in messages:
                await socket.send(message)

        sending = asyncio.create_task(send())
        for message in messages:
            assert await socket.recv() == message
        await sending
        # Asked by either side whether the other one is there.
        await (await socket.ping(b"there?"))
        await socket.send("ping")
        assert await socket.recv() == "it is there"
    # The client ended this one, and the server the next.
    assert socket.close_code == 1000, socket.close_code
    async with connect(url, subprotocols=["chat"]) as socket:
        await socket.send("close")
        try:
            await socket.recv()
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "enough"), closed
        else:
            raise AssertionError("it goes on")
    async with connect(url, subprotocols=["chat"]) as socket:
        await socket.close(3000, "own reasons")


for compression in [None, "deflate"]:
    asyncio.run(asyncio.wait_for(talk(compression), 60))
print("fine")
