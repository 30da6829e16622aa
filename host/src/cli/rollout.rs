//! `tollgate plugins promote` and `rollback`: what an operator tells the server that runs.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::{failed, refused};
use crate::config;

/// How long the server may take: it may have to configure a plugin.
const TIME: Duration = Duration::from_secs(60);
/// More than any answer has.
const LONGEST: u64 = 16 << 20;

/// Says it to the admin listener of a configuration. `what` is the last part of the path.
pub(super) fn tell(path: &Path, plugin: &str, what: &str) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(problems) => return refused(&problems),
    };
    if !config.plugin.contains_key(plugin) {
        return failed(&format!("{} has no plugin `{plugin}`", path.display()));
    }
    let Some(admin) = config.admin else {
        return failed(&format!("{} has no [admin], and so nobody to tell", path.display()));
    };
    match ask(admin.address, "POST", &format!("/plugins/{plugin}/{what}")) {
        Ok((200, said)) => {
            eprint!("{said}");
            ExitCode::SUCCESS
        }
        Ok((_, said)) => {
            eprint!("tollgate: {said}");
            ExitCode::from(1)
        }
        Err(error) => failed(&format!("the admin listener {} does not answer: {error}", admin.address)),
    }
}

/// The new versions that get a part of the requests, a line for each; none where no server runs.
pub(super) fn trials(admin: SocketAddr) -> Vec<String> {
    let Ok((200, state)) = ask(admin, "GET", "/state") else { return Vec::new() };
    let Ok(state) = serde_json::from_str::<Value>(&state) else { return Vec::new() };
    let plugins = state["plugins"].as_array().map(Vec::as_slice).unwrap_or_default();
    plugins.iter().filter_map(line).collect()
}

fn line(plugin: &Value) -> Option<String> {
    let trial = plugin["trial"].as_object()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(shadow) = trial.get("shadow") {
        let number = |what: &str| shadow[what].as_u64().unwrap_or_default();
        let last = trial["last_difference"].as_str().map(|last| format!("\n  last difference: {last}"));
        return Some(format!(
            "plugin {}: {} watches: {}\n  {} different, {} failed, {} passes left out{}",
            text(&plugin["name"]),
            text(&trial["sha256"]),
            text(&trial["verdict"]),
            number("different"),
            number("failed"),
            number("left_out"),
            last.unwrap_or_default(),
        ));
    }
    let counts = |of: &str| {
        let number = |what: &str| trial[of][what].as_u64().unwrap_or_default();
        format!("{} requests, {} failed, {} refused", number("requests"), number("failures"), number("refusals"))
    };
    Some(format!(
        "plugin {}: {} of the requests meet {}: {}\n  old: {}\n  new: {}",
        text(&plugin["name"]),
        text(&trial["canary"]),
        text(&trial["sha256"]),
        text(&trial["verdict"]),
        counts("old"),
        counts("new"),
    ))
}

/// One exchange. What comes back is the status and the body.
fn ask(admin: SocketAddr, method: &str, target: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&admin, Duration::from_secs(3))?;
    stream.set_read_timeout(Some(TIME))?;
    stream.write_all(format!("{method} {target} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "it is no Tollgate");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(wrong)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(wrong)?;
    Ok((status, body.to_owned()))
}
