"""Calls of each kind, with messages of mere bytes. Prints its port, and which calls were given up."""

import threading
from concurrent import futures

import grpc


def unary(message, context):
    metadata = dict(context.invocation_metadata())
    context.send_initial_metadata([("x-initial", metadata.get("x-asked", "nothing"))])
    context.set_trailing_metadata([("x-trailing", "done"), ("x-trailing-bin", b"\x00\xff")])
    return message


def server_stream(message, context):
    for number in range(int(message)):
        yield str(number).encode()


def client_stream(messages, context):
    return str(sum(len(message) for message in messages)).encode()


def both(messages, context):
    yield from messages


def fail(message, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: ü")


def fail_late(message, context):
    yield b"first"
    context.abort(grpc.StatusCode.DATA_LOSS, "the rest is lost")


def slow(message, context):
    ended = threading.Event()
    context.add_callback(ended.set)
    context.send_initial_metadata(())
    ended.wait(60)
    print("given up", context.time_remaining() is not None, flush=True)
    return b""


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
}

server = grpc.server(
    futures.ThreadPoolExecutor(8),
    handlers=[grpc.method_handlers_generic_handler("test.Calls", METHODS)],
    options=[("grpc.max_receive_message_length", -1)],
)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
