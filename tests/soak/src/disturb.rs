//! What goes on around the proxy: reloads, new versions of a plugin, servers that are killed and come back.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::clients::Board;
use crate::proxy::{self, Proxy};

/// Turns, one a second: what happens in each of them.
const TURNS: usize = 6;

pub(crate) struct Disturbance {
    servers: Vec<Server>,
    turn: usize,
    pub(crate) reloads: usize,
    pub(crate) versions: usize,
    pub(crate) kills: usize,
}

struct Server {
    address: SocketAddr,
    child: Option<Child>,
}

impl Disturbance {
    pub(crate) fn start(count: usize) -> Result<Self> {
        let mut servers = Vec::new();
        for _ in 0..count {
            let [address] = proxy::free()?;
            let mut server = Server { address, child: None };
            server.start()?;
            servers.push(server);
        }
        Ok(Self { servers, turn: 0, reloads: 0, versions: 0, kills: 0 })
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.address).collect()
    }

    /// One turn.
    pub(crate) async fn once(&mut self, proxy: &Proxy, board: &Board) -> Result<()> {
        self.turn += 1;
        let count = self.servers.len();
        let server = &mut self.servers[self.turn / TURNS % count];
        match self.turn % TURNS {
            1 | 4 => {
                self.reloads += 1;
                proxy.reload(self.reloads).await?;
            }
            2 => {
                self.versions += usize::from(proxy.drop_in(self.versions + 1)?);
            }
            3 => {
                self.kills += 1;
                board.killed();
                server.kill()?;
            }
            5 => server.start()?,
            _ => {}
        }
        Ok(())
    }

    /// All servers are there again.
    pub(crate) fn heal(&mut self) -> Result<()> {
        for server in &mut self.servers {
            server.start()?;
        }
        Ok(())
    }
}

impl Server {
    /// Starts it where it does not run.
    fn start(&mut self) -> Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("backend").arg(self.address.to_string()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "a server does not start again on {}", self.address);
        self.child = Some(child);
        Ok(())
    }

    /// By SIGKILL: it says goodbye to nobody.
    fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.kill();
    }
}
