//! What systemd is told (sd_notify(3)), where it asks for it.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells systemd one line of the state of this service; nothing where nobody wants to know.
pub(super) fn notify(state: &str) {
    let Ok(place) = env::var("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&place, state) {
        tracing::warn!(%error, "systemd cannot be told {state}");
    }
}

fn send(place: &str, state: &str) -> io::Result<()> {
    let address = match place.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(place)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_one_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.to_str().unwrap(), "READY=1").unwrap();
        let mut state = [0; 32];
        let length = socket.recv(&mut state).unwrap();
        assert_eq!(&state[..length], b"READY=1");

        let name = format!("tollgate-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(&format!("@{name}"), "STOPPING=1").unwrap();
        let length = socket.recv(&mut state).unwrap();
        assert_eq!(&state[..length], b"STOPPING=1");
        assert!(send("/nowhere/at/all", "READY=1").is_err());
    }
}
