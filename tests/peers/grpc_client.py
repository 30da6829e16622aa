"""Calls grpc_server.py, at the address that it is given."""

import queue
import sys

import grpc

TIME = 60
channel = grpc.insecure_channel(sys.argv[1], options=[("grpc.max_receive_message_length", -1)])


def path(method, service="test.Calls"):
    return f"/{service}/{method}"


def failing(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("it works")


unary = channel.unary_unary(path("Unary"))
reply, call = unary.with_call(b"hello", timeout=TIME, metadata=[("x-asked", "this"), ("x-asked-bin", b"\x01")])
assert reply == b"hello", reply
assert dict(call.initial_metadata())["x-initial"] == "this", call.initial_metadata()
trailing = dict(call.trailing_metadata())
assert (trailing["x-trailing"], trailing["x-trailing-bin"]) == ("done", b"\x00\xff"), trailing
assert unary(b"", timeout=TIME) == b""
big = bytes(range(256)) * (8 << 12)
assert unary(big, timeout=TIME) == big

numbers = channel.unary_stream(path("ServerStream"))(b"500", timeout=TIME)
assert [int(number) for number in numbers] == list(range(500))

pieces = channel.stream_unary(path("ClientStream"))
assert pieces(iter([b"x" * 1000] * 300), timeout=TIME) == b"300000"
assert pieces(iter([]), timeout=TIME) == b"0"

# Each comes back before the next one is sent.
mine = queue.Queue()
answers = channel.stream_stream(path("Both"))(iter(mine.get, None), timeout=TIME)
for number in range(50):
    mine.put(str(number).encode())
    assert next(answers) == str(number).encode()
mine.put(big)
assert next(answers) == big
mine.put(None)
assert list(answers) == [] and answers.code() == grpc.StatusCode.OK, answers.code()

# Many at once, on one connection.
calls = [unary.future(str(number).encode(), timeout=TIME) for number in range(200)]
assert [int(call.result()) for call in calls] == list(range(200))

error = failing(lambda: channel.unary_unary(path("Fail"))(b"", timeout=TIME))
assert error == (grpc.StatusCode.NOT_FOUND, "no such thing: ü"), error
late = channel.unary_stream(path("FailLate"))(b"", timeout=TIME)
assert next(late) == b"first"
error = failing(lambda: next(late))
assert error == (grpc.StatusCode.DATA_LOSS, "the rest is lost"), error
error = failing(lambda: channel.unary_unary(path("Missing"))(b"", timeout=TIME))
assert error[0] == grpc.StatusCode.UNIMPLEMENTED, error

# As streams, so that their heads show that the server has them.
late = channel.unary_stream(path("Slow"))(b"", timeout=2)
late.initial_metadata()
error = failing(lambda: next(late))
assert error[0] == grpc.StatusCode.DEADLINE_EXCEEDED, error
given_up = channel.unary_stream(path("Slow"))(b"", timeout=TIME)
given_up.initial_metadata()
given_up.cancel()
assert given_up.cancelled()

# What Tollgate says itself: of a server that is gone, of a route that there is none of.
error = failing(lambda: channel.unary_unary(path("Unary", "test.Dead"))(b"", timeout=TIME))
assert error[0] == grpc.StatusCode.UNAVAILABLE, error
error = failing(lambda: channel.unary_unary(path("Unary", "test.Nowhere"))(b"", timeout=TIME))
assert error[0] == grpc.StatusCode.UNIMPLEMENTED, error
print("fine")
