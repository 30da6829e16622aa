//! Addresses, networks, endpoints and hosts, as the file writes them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use http::header::HeaderValue;

use super::near::nearest;
use super::reader::Wrong;
use super::{Address, Endpoint, HostMatch, Network};

/// What a listener binds: an IP address and a port, never a name.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, Wrong> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.contains("://") {
        return Err(Wrong::because("it has no scheme"));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    if let (Ok(ip), Ok(port)) = (host.parse::<Ipv6Addr>(), port.parse::<u16>()) {
        let wrong = Wrong::because("an IPv6 address is written in brackets");
        return Err(wrong.help(format!("write \"[{ip}]:{port}\"")));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Err(Wrong::because("the port is missing").help(format!("write \"{}\"", SocketAddr::new(ip, 8080))));
    }
    let Some(port) = port.parse::<u16>().ok() else {
        return Err(Wrong::because("it ends with a port from 0 to 65535"));
    };
    Err(match host {
        "" | "*" => Wrong::because("the address is missing")
            .help(format!("write \"127.0.0.1:{port}\" for this machine alone, or \"0.0.0.0:{port}\" for all")),
        "localhost" => Wrong::because("names are not looked up here").help(format!("write \"127.0.0.1:{port}\"")),
        _ => Wrong::because("it is an IP address and a port, not a name"),
    })
}

/// The longest path of a Unix socket: what fits into the kernel's structure, with a byte for the end and one for the name
/// that a listener's is made under.
pub(crate) const LONGEST_SOCKET: usize = 106;

/// What a listener binds, or `unix:` and the path of a Unix socket.
pub(crate) fn listener(text: &str) -> Result<Address, Wrong> {
    match text.strip_prefix("unix:") {
        Some(path) => unix(path).map(Address::Unix),
        None => listen(text).map(Address::Tcp).map_err(|wrong| match text.starts_with('/') {
            true => Wrong::because("a path is no address").suggest(Some(format!("unix:{text}"))),
            false => wrong,
        }),
    }
}

/// A server behind us: an endpoint, or `unix:` and the path of a Unix socket.
pub(crate) fn server(text: &str) -> Result<Endpoint, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        let (host, authority) = ("localhost".to_owned(), HeaderValue::from_static("localhost"));
        return Ok(Endpoint { tls: false, host, port: 80, authority, unix: Some(unix(path)?) });
    }
    // As nginx writes it, where a second colon ends the path.
    if let Some(path) = text.strip_prefix("http://unix:") {
        let path = path.split_once(':').map_or(path, |(path, _)| path);
        return Err(Wrong::because("a Unix socket is written without http://").suggest(Some(format!("unix:{path}"))));
    }
    endpoint(text).map_err(|wrong| match text.starts_with('/') {
        true => wrong.suggest(Some(format!("unix:{text}"))),
        false => wrong,
    })
}

/// The path behind `unix:`.
fn unix(path: &str) -> Result<PathBuf, Wrong> {
    if path.starts_with("//") {
        let path = path.trim_start_matches('/');
        return Err(Wrong::because("a path follows, without slashes before it").suggest(Some(format!("unix:/{path}"))));
    }
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(Wrong::because("there is no file of this name"));
    }
    if path.len() > LONGEST_SOCKET {
        return Err(Wrong::because("a path of a Unix socket has 106 bytes at most"));
    }
    Ok(path.into())
}

/// `10.0.0.0/8`, or one address.
pub(crate) fn network(text: &str) -> Result<Network, Wrong> {
    let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
    let Ok(address) = ip.parse::<IpAddr>() else {
        return Err(Wrong::because("it does not begin with an IP address"));
    };
    let longest: u8 = if address.is_ipv4() { 32 } else { 128 };
    let Some(prefix) = prefix else {
        return Ok(Network { address, prefix: longest });
    };
    let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    let Some(prefix) = prefix.parse().ok().filter(|prefix| digits && *prefix <= longest) else {
        return Err(Wrong::because(format!("the number after the slash is from 0 to {longest}")));
    };
    let base = base(address, prefix);
    if base != address {
        return Err(Wrong::because("there are bits set behind the prefix")
            .help(format!("write \"{base}/{prefix}\" for the network, or \"{address}\" for the address alone")));
    }
    Ok(Network { address, prefix })
}

fn base(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & mask).into())
        }
    }
}

/// `http://host:port` or `https://host:port`, where 80 and 443 may be left out, and nothing else.
pub(crate) fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    let Some((scheme, rest)) = text.split_once("://") else {
        let help = if text.contains(['/', '@', ' ']) { None } else { Some(format!("write \"http://{text}\"")) };
        return Err(Wrong { help, ..Wrong::because("it begins with http:// or https://") });
    };
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        other => {
            let near = nearest(other, ["http", "https"]);
            return Err(Wrong::because("it begins with http:// or https://")
                .suggest(near.map(|near| format!("{near}://{rest}"))));
        }
    };
    if rest.contains('@') {
        return Err(Wrong::because("it has no user and no password")
            .help("let a plugin set the credentials, for example headers, with a ${env:…} or ${file:…} reference"));
    }
    if let Some(at) = rest.find(['/', '?', '#']) {
        let wrong = Wrong::because("it has no path and no query: a route passes the path on as it came");
        return Err(wrong.help(format!("write \"{scheme}://{}\"", &rest[..at])));
    }
    let (name, port) = match rest.strip_prefix('[') {
        Some(inner) => {
            let Some((ip, after)) = inner.split_once(']') else {
                return Err(Wrong::because("the \"]\" is missing"));
            };
            let Ok(ip) = ip.parse::<Ipv6Addr>() else {
                return Err(Wrong::because("there is no IPv6 address in the brackets"));
            };
            let port = match after.strip_prefix(':') {
                None if after.is_empty() => None,
                None => return Err(Wrong::because("only a port follows the brackets")),
                port => port,
            };
            (ip.to_string(), port)
        }
        None if rest.matches(':').count() > 1 => {
            let wrong = Wrong::because("an IPv6 address is written in brackets");
            return Err(match rest.parse::<Ipv6Addr>() {
                Ok(ip) => wrong.help(format!("write \"{scheme}://[{ip}]\"")),
                Err(_) => wrong,
            });
        }
        None => {
            let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
            (name(host)?, port)
        }
    };
    let default = if tls { 443 } else { 80 };
    let port = match port {
        None => default,
        Some(digits) => {
            let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
            number.filter(|port| *port != 0).ok_or_else(|| Wrong::because("the port is a number from 1 to 65535"))?
        }
    };
    let shown = if name.contains(':') { format!("[{name}]") } else { name.clone() };
    let authority = if port == default { shown } else { format!("{shown}:{port}") };
    let authority = HeaderValue::try_from(authority).map_err(|_| Wrong::because("its host is not a name"))?;
    Ok(Endpoint { tls, host: name, port, authority, unix: None })
}

/// `api.example.com`, `*.example.com`, or an IP address (IPv6 in brackets, as in `Host`).
pub(crate) fn host(text: &str) -> Result<HostMatch, Wrong> {
    if text == "*" {
        return Err(Wrong::because("a star alone is no host").help("leave \"host\" out to take every host"));
    }
    if text.contains("://") || text.contains('/') {
        let host = text.split_once("://").map_or(text, |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or(host);
        return Err(Wrong::because("it has no scheme and no path").help(format!("write {host:?}")));
    }
    if let Some(inner) = text.strip_prefix('[') {
        return match inner.strip_suffix(']').and_then(|ip| ip.parse::<Ipv6Addr>().ok()) {
            Some(ip) => Ok(HostMatch::Exact(format!("[{ip}]"))),
            None => Err(Wrong::because("only an IPv6 address is written in brackets, and no port follows it")),
        };
    }
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return Err(Wrong::because("an IPv6 address is written in brackets").help(format!("write \"[{ip}]\"")));
    }
    if let Some((host, port)) = text.split_once(':') {
        let wrong = Wrong::because("it has no port: a route takes requests on every listener");
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        return Err(if digits { wrong.help(format!("write {host:?}")) } else { wrong });
    }
    match text.strip_prefix("*.") {
        Some(rest) if !rest.contains('*') => Ok(HostMatch::Suffix(format!(".{}", name(rest)?))),
        _ if text.contains('*') => {
            Err(Wrong::because("a star stands only for whole labels at the beginning").help("write \"*.example.com\""))
        }
        _ => Ok(HostMatch::Exact(name(text)?)),
    }
}

/// A DNS name or an IPv4 address, in lower case and without a final dot. Lengths are those of RFC 1035; `_` is no part
/// of a host name, but of many names in container networks.
pub(crate) fn name(text: &str) -> Result<String, Wrong> {
    if !text.is_ascii() {
        return Err(Wrong::because("an internationalised name is written as its A-label, which begins with xn--"));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return Err(Wrong::because("the host is missing"));
    }
    if name.len() > 253 || name.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Err(Wrong::because("each label of a name has 1 to 63 characters, and all together 253"));
    }
    if let Some(odd) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        return Err(Wrong::because(format!("{odd:?} cannot be in a name")));
    }
    if name.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err(Wrong::because("no label begins or ends with \"-\""));
    }
    // The last label of a name is never a number (RFC 3696, section 2): this is a wrong IPv4 address.
    let number = name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if number && name.parse::<std::net::Ipv4Addr>().is_err() {
        return Err(Wrong::because("it is neither a name nor an IPv4 address"));
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn help(wrong: Wrong) -> String {
        wrong.help.unwrap_or_default()
    }

    #[test]
    fn listeners_take_addresses_with_a_port() {
        assert_eq!(listen("0.0.0.0:8443").unwrap().port(), 8443);
        assert!(listen("[::1]:0").unwrap().is_ipv6());
        for wrong in [
            "",
            ":8080",
            "8080",
            "localhost:8080",
            "127.0.0.1",
            "::1",
            "::1:80",
            "127.0.0.1:70000",
            "http://127.0.0.1:1",
        ] {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
        assert!(help(listen(":8080").unwrap_err()).contains("\"0.0.0.0:8080\""));
        assert_eq!(help(listen("::1").unwrap_err()), "write \"[::1]:8080\"");
    }

    #[test]
    fn networks_have_no_bits_behind_the_prefix() {
        assert_eq!(network("10.0.0.0/8").unwrap().prefix, 8);
        assert_eq!(network("10.1.2.3").unwrap().prefix, 32);
        assert_eq!(network("fd00::/8").unwrap().prefix, 8);
        assert_eq!(network("0.0.0.0/0").unwrap().prefix, 0);
        assert_eq!(network("::/0").unwrap().prefix, 0);
        for wrong in ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "::/129", "example.com"]
        {
            assert!(network(wrong).is_err(), "{wrong}");
        }
        assert!(help(network("10.0.0.1/8").unwrap_err()).contains("\"10.0.0.0/8\""));
    }

    #[test]
    fn endpoints_have_a_scheme_a_host_and_a_port() {
        let of = |text| endpoint(text).map(|e| (e.tls, e.host, e.port, e.authority.to_str().unwrap().to_owned()));
        let is = |tls, host: &str, port, authority: &str| (tls, host.to_owned(), port, authority.to_owned());
        assert_eq!(of("http://10.0.1.5:8080").unwrap(), is(false, "10.0.1.5", 8080, "10.0.1.5:8080"));
        assert_eq!(of("https://Api.Example.com").unwrap(), is(true, "api.example.com", 443, "api.example.com"));
        assert_eq!(of("http://[::1]:80").unwrap(), is(false, "::1", 80, "[::1]"));
        assert_eq!(of("http://my_service:1").unwrap(), is(false, "my_service", 1, "my_service:1"));
        for wrong in [
            "",
            "search:8080",
            "10.0.0.1",
            "ftp://x",
            "http://",
            "http://x/",
            "http://x?y",
            "http://u:p@x",
            "http://x:0",
            "http://x:",
            "http://x:99999",
            "http://x:+80",
            "http://::1:80",
            "http://[::1",
            "http://[::1]x",
            "http://[x]",
            "http://bücher.example",
            "http://a..b",
            "http://256.1.1.1",
            "http://a b",
            "http://x:80:80",
        ] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
        assert_eq!(help(endpoint("search:8080").unwrap_err()), "write \"http://search:8080\"");
    }

    #[test]
    fn hosts_are_kept_in_lower_case() {
        assert_eq!(host("API.Example.com.").unwrap(), HostMatch::Exact("api.example.com".into()));
        assert_eq!(host("*.Example.com").unwrap(), HostMatch::Suffix(".example.com".into()));
        assert_eq!(host("[0:0::1]").unwrap(), HostMatch::Exact("[::1]".into()));
        for wrong in [
            "",
            "*",
            "*.",
            "a.*.b",
            "*.*.b",
            "*a.b",
            "http://x",
            "x/y",
            "x:80",
            "::1",
            "bücher.example",
            "-a.b",
            "[::1]:80",
        ] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "(https?://|[*]|[.]|:|/|\\[|\\]|@|[0-9]{1,6}|.)*") {
            let _ = (listen(&text), network(&text), endpoint(&text), host(&text));
        }
    }
}
