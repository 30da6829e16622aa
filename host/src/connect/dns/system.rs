//! What the system's files say about names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const LOOPBACK: [IpAddr; 2] = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];

/// As many as resolv.conf(5) allows.
const MOST_SERVERS: usize = 3;
const MOST_DOMAINS: usize = 6;

/// `/etc/resolv.conf`, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct System {
    /// At least one.
    pub(super) servers: Vec<SocketAddr>,
    search: Vec<String>,
    /// A name with so many dots is tried as it is first.
    dots: usize,
}

impl System {
    pub(super) fn parse(text: &str) -> Self {
        let mut system = Self { servers: Vec::new(), search: Vec::new(), dots: 1 };
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if system.servers.len() < MOST_SERVERS => {
                    // A zone (`fe80::1%eth0`) is for links that no server of a proxy is on.
                    let ip = words.next().and_then(|ip| ip.parse::<IpAddr>().ok());
                    system.servers.extend(ip.map(|ip| SocketAddr::new(ip, 53)));
                }
                // The last of them counts.
                Some("search" | "domain") => {
                    let domain = |word: &str| word.trim_matches('.').to_ascii_lowercase();
                    system.search = words.map(domain).filter(|domain| !domain.is_empty()).take(MOST_DOMAINS).collect();
                }
                Some("options") => {
                    let dots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse::<usize>().ok()).next_back();
                    system.dots = dots.map_or(system.dots, |dots| dots.min(15));
                }
                _ => {}
            }
        }
        if system.servers.is_empty() {
            system.servers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 53)));
        }
        system
    }

    /// The full names that a host may mean, in the order in which they are tried.
    pub(super) fn candidates(&self, host: &str) -> Vec<String> {
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{host}.{domain}")).collect();
        let many = host.bytes().filter(|byte| *byte == b'.').count() >= self.dots;
        names.insert(if many { 0 } else { names.len() }, host.to_owned());
        names
    }
}

/// The addresses that a hosts file has for a host.
pub(super) fn hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let mut out = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(ip) = words.next().and_then(|ip| ip.parse::<IpAddr>().ok()) else { continue };
        if words.any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(host)) && !out.contains(&ip) {
            out.push(ip);
        }
    }
    out.sort_by_key(IpAddr::is_ipv4);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_file_is_read_as_resolv_conf_5_says() {
        let system = System::parse(
            "# comment\nnameserver 10.0.0.2\nnameserver fd00::2 ; the second\nnameserver nonsense\nnameserver 10.0.0.3\n\
             nameserver 10.0.0.4\nsearch one.test\nsearch Two.test. three.test\noptions timeout:1 ndots:2\n",
        );
        let servers: Vec<String> = system.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.2:53", "[fd00::2]:53", "10.0.0.3:53"]);
        assert_eq!(system.candidates("a.b"), ["a.b.two.test", "a.b.three.test", "a.b"]);
        assert_eq!(system.candidates("a.b.c"), ["a.b.c", "a.b.c.two.test", "a.b.c.three.test"]);
        let none = System::parse("");
        assert_eq!((none.servers[0].to_string().as_str(), none.candidates("a")), ("127.0.0.1:53", vec!["a".into()]));
    }

    #[test]
    fn a_hosts_file_names_hosts_in_any_case_and_several_times() {
        let text = "127.0.0.1 localhost # here\n10.0.0.1\tOrigin origin.test\n\nnonsense origin\nfd00::1 origin.test.\n10.0.0.1 origin.test";
        let found: Vec<String> = hosts(text, "origin.test").iter().map(ToString::to_string).collect();
        assert_eq!(found, ["fd00::1", "10.0.0.1"]);
        assert_eq!(hosts(text, "origin").len(), 1);
        assert!(hosts(text, "here").is_empty());
    }
}
