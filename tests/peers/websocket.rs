//! WebSocket: Python's `websockets` on both sides, and the client that Node has itself.

use super::installed::{Peer, script};
use super::{is_here, run};
use crate::harness::{Proxy, until};

fn start(server: &Peer) -> Proxy {
    let config = format!(
        "[upstream.u]\nendpoints = [\"http://127.0.0.1:{}\"]\n[route.ws]\npath = \"/ws\"\nupstream = \"u\"\n\
         upgrade = [\"websocket\"]\nchain = [\"tidy\"]\n[plugin.tidy]\ncomponent = \"headers\"\n\
         config.request.set = {{ x-tidy = \"yes\" }}\n",
        server.port
    );
    Proxy::start(&config, &[])
}

#[test]
fn pythons_client_and_server() {
    let Some(server) = Peer::start("websocket_server.py") else { return };
    let proxy = start(&server);
    assert_eq!(server.ask("websocket_client.py", proxy.address("public")), "fine");
    // The codes with which each side ended, as the server got them.
    let ends = ["closed 1000", "closed 4001", "closed 3000"];
    until("the server hears of each end", || ends.iter().all(|end| server.said(end) == 2));
    let lines = proxy.stop();
    assert_eq!(lines.matches("\"status\":101,").count(), 6, "{lines}");
    assert_eq!(lines.matches("\"reason\":\"ok\"").count(), 6, "{lines}");
}

#[test]
fn nodes_client() {
    let Some(server) = Peer::start("websocket_server.py") else { return };
    let experimental = "--experimental-websocket";
    if !is_here("node", &[experimental, "-e", "new WebSocket('ws://127.0.0.1:9').onerror = () => process.exit(0)"]) {
        return;
    }
    let proxy = start(&server);
    let file = script("websocket_client.mjs");
    let address = proxy.address("public").to_string();
    let printed = run("node", &["--no-warnings", experimental, &file, &address], "");
    assert_eq!(printed, "fine");
    until("the server hears of its own end", || server.said("closed 4001") == 1);
}
