//! gRPC: Python's `grpcio` on both sides.

use std::net::TcpListener;

use super::installed::Peer;
use crate::harness::{Proxy, until};

#[test]
fn pythons_client_and_server() {
    let Some(server) = Peer::start("grpc_server.py") else { return };
    // Nobody listens there any more.
    let dead = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let config = format!(
        "[upstream.u]\nendpoints = [\"http://127.0.0.1:{}\"]\nprotocol = \"http2\"\n\
         [upstream.dead]\nendpoints = [\"http://{dead}\"]\nprotocol = \"http2\"\n\
         [route.calls]\npath-prefix = \"/test.Calls\"\nupstream = \"u\"\nbody-size = \"unlimited\"\nchain = [\"tidy\"]\n\
         [route.dead]\npath-prefix = \"/test.Dead\"\nupstream = \"dead\"\n\
         [plugin.tidy]\ncomponent = \"headers\"\nlimits.time = \"5s\"\nconfig.response.set = {{ x-tidy = \"yes\" }}\n",
        server.port
    );
    let proxy = Proxy::start(&config, &[]);
    assert_eq!(server.ask("grpc_client.py", proxy.address("public")), "fine");
    // Both calls that the client gave up have ended at the server, and it knew the deadline of each.
    until("the server hears of each", || server.said("given up True") == 2);
}
