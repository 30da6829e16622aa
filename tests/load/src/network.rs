//! A network of the benchmark's own: the loopback of a network namespace, whose connections use Linux's default congestion
//! control.
//!
//! A machine may be set up for the Internet instead. BBR, for one, paces what it sends by what it thinks the way can
//! carry, also over loopback, and what large bodies cost is then how it guesses. The kernel also remembers what it
//! learned of an address (`tcp_metrics`), so that one run would depend on those before it.

use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Result, bail};
use socket2::SockRef;

/// `machine` stays in the machine's network; `own` is for the one who is in it already.
const VARIABLE: &str = "NETWORK";

/// Linux's default.
const CONTROL: &str = "cubic";

/// Goes on in a network of its own: starts this program anew there. Returns where that cannot be had, where it is not
/// wanted, and where it is there already.
pub(crate) fn enter() -> Result<()> {
    match std::env::var(VARIABLE).unwrap_or_default().as_str() {
        "" => {}
        "own" | "machine" => return Ok(()),
        other => bail!("{VARIABLE} is `{other}`: it is `machine`, or not set"),
    }
    // A namespace may set the control of its routes, but not of itself where the machine has another.
    let route = |to: &str| {
        format!(
            "ip route replace local {to} dev lo table local proto kernel scope host src 127.0.0.1 congctl {CONTROL}"
        )
    };
    let steps = ["ip link set lo up", &route("127.0.0.0/8"), &route("127.0.0.1"), "exec \"$@\""].join(" && ");
    let inside = |how: &[&str], program: &OsStr| {
        let mut command = Command::new("unshare");
        command.args(how).args(["--net", "sh", "-c", &steps, "sh"]).arg(program);
        command
    };
    let can = |how: &[&str]| inside(how, "true".as_ref()).output().is_ok_and(|output| output.status.success());
    // Who is not root needs a namespace of users, too.
    let ways: [&[&str]; 2] = [&[], &["--user", "--map-current-user", "--keep-caps"]];
    let Some(how) = ways.into_iter().find(|how| can(how)) else {
        eprintln!("no network namespace can be had here: measured in the machine's own network");
        return Ok(());
    };
    let own = std::env::current_exe()?;
    Err(inside(how, own.as_os_str()).env(VARIABLE, "own").exec().into())
}

/// The congestion control of connections over loopback.
pub(crate) fn control() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let name = SockRef::from(&stream).tcp_congestion()?;
    Ok(String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned())
}
