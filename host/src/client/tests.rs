use http::header::HeaderMap;
use proptest::prelude::*;

use super::*;

fn networks(blocks: &[&str]) -> Vec<Network> {
    blocks
        .iter()
        .map(|block| {
            let (address, prefix) = block.split_once('/').unwrap();
            Network { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
        })
        .collect()
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// The peer is 10.0.0.1 where a row does not say otherwise; 10.0.0.0/8, 2001:db8:aa::/48 and 192.0.2.7 are trusted.
#[test]
fn walks_from_the_right() {
    const XFF: &str = "x-forwarded-for";
    const FWD: &str = "forwarded";
    type Lines<'a> = &'a [(&'static str, &'a str)];
    let table: &[(&str, Lines<'_>, &str, &[&str])] = &[
        // The peer is not trusted.
        ("203.0.113.9", &[], "203.0.113.9", &[]),
        ("203.0.113.9", &[(XFF, "1.2.3.4")], "203.0.113.9", &[]),
        ("203.0.113.9", &[(FWD, "for=1.2.3.4")], "203.0.113.9", &[]),
        ("::ffff:203.0.113.9", &[(XFF, "1.2.3.4")], "203.0.113.9", &[]),
        ("2001:db8::9", &[(XFF, "1.2.3.4")], "2001:db8::9", &[]),
        // A trusted peer.
        ("10.0.0.1", &[], "10.0.0.1", &[]),
        ("10.0.0.1", &[(XFF, "1.2.3.4")], "1.2.3.4", &["10.0.0.1"]),
        ("::ffff:10.0.0.1", &[(XFF, "1.2.3.4")], "1.2.3.4", &["10.0.0.1"]),
        ("2001:db8:aa::1", &[(XFF, "1.2.3.4")], "1.2.3.4", &["2001:db8:aa::1"]),
        ("10.0.0.1", &[(XFF, "6.6.6.6, 1.2.3.4")], "1.2.3.4", &["10.0.0.1"]),
        ("10.0.0.1", &[(XFF, "6.6.6.6,1.2.3.4 , 10.9.9.9")], "1.2.3.4", &["10.9.9.9", "10.0.0.1"]),
        ("10.0.0.1", &[(XFF, "1.2.3.4, 192.0.2.7, 10.2.2.2")], "1.2.3.4", &["192.0.2.7", "10.2.2.2", "10.0.0.1"]),
        ("10.0.0.1", &[(XFF, "10.3.3.3, 10.2.2.2")], "10.3.3.3", &["10.2.2.2", "10.0.0.1"]),
        // Several lines are one list.
        ("10.0.0.1", &[(XFF, "6.6.6.6"), (XFF, "1.2.3.4"), (XFF, "10.2.2.2")], "1.2.3.4", &["10.2.2.2", "10.0.0.1"]),
        ("10.0.0.1", &[(XFF, "1.2.3.4"), (XFF, "")], "1.2.3.4", &["10.0.0.1"]),
        ("10.0.0.1", &[(XFF, "1.2.3.4, ,")], "1.2.3.4", &["10.0.0.1"]),
        // Ports and brackets.
        ("10.0.0.1", &[(XFF, "1.2.3.4:5678")], "1.2.3.4", &["10.0.0.1"]),
        ("10.0.0.1", &[(XFF, "2001:db8::5")], "2001:db8::5", &["10.0.0.1"]),
        ("10.0.0.1", &[(XFF, "[2001:db8::5]")], "2001:db8::5", &["10.0.0.1"]),
        ("10.0.0.1", &[(XFF, "[2001:db8::5]:443")], "2001:db8::5", &["10.0.0.1"]),
        ("10.0.0.1", &[(XFF, "1.2.3.4, ::ffff:10.2.2.2")], "1.2.3.4", &["10.2.2.2", "10.0.0.1"]),
        // What is no address ends the walk before it.
        ("10.0.0.1", &[(XFF, "unknown")], "10.0.0.1", &[]),
        ("10.0.0.1", &[(XFF, "1.2.3.4, _hidden, 10.2.2.2")], "10.2.2.2", &["10.0.0.1"]),
        ("10.0.0.1", &[(XFF, "1.2.3.4, 10.2.2.2.2")], "10.0.0.1", &[]),
        ("10.0.0.1", &[(XFF, "1.2.3.4, 010.2.2.2")], "10.0.0.1", &[]),
        ("10.0.0.1", &[(XFF, "1.2.3.4, fe80::1%eth0")], "10.0.0.1", &[]),
        ("10.0.0.1", &[(XFF, "1.2.3.4, [10.2.2.2]")], "10.0.0.1", &[]),
        ("10.0.0.1", &[(XFF, "1.2.3.4, 10.2.2.2:")], "10.0.0.1", &[]),
        ("10.0.0.1", &[(XFF, "1.2.3.4, 10.2.2.2:http")], "10.0.0.1", &[]),
        ("10.0.0.1", &[(XFF, "1.2.3.4, [::1]x")], "10.0.0.1", &[]),
        // RFC 7239.
        ("10.0.0.1", &[(FWD, "for=1.2.3.4")], "1.2.3.4", &["10.0.0.1"]),
        ("10.0.0.1", &[(FWD, "For=\"1.2.3.4:99\";proto=https")], "1.2.3.4", &["10.0.0.1"]),
        ("10.0.0.1", &[(FWD, "for=\"[2001:db8::5]:4711\"")], "2001:db8::5", &["10.0.0.1"]),
        ("10.0.0.1", &[(FWD, "for=6.6.6.6, for=1.2.3.4;by=x, for=10.2.2.2")], "1.2.3.4", &["10.2.2.2", "10.0.0.1"]),
        ("10.0.0.1", &[(FWD, "for=1.2.3.4"), (FWD, "for=10.2.2.2")], "1.2.3.4", &["10.2.2.2", "10.0.0.1"]),
        ("10.0.0.1", &[(FWD, "for=1.2.3.4, for=unknown")], "10.0.0.1", &[]),
        ("10.0.0.1", &[(FWD, "for=1.2.3.4, for=_gazonk, for=10.2.2.2")], "10.2.2.2", &["10.0.0.1"]),
        ("10.0.0.1", &[(FWD, "for=1.2.3.4, proto=https")], "10.0.0.1", &[]),
        ("10.0.0.1", &[(FWD, "for=1.2.3.4, for=10.2.2.2;for=10.3.3.3")], "10.0.0.1", &[]),
        ("10.0.0.1", &[(FWD, "for=1.2.3.4, for=\"10.2.2.2\\\"\"")], "10.0.0.1", &[]),
        // A quote that a client left open does not hide what the proxy added behind it.
        ("10.0.0.1", &[(FWD, "for=\"6.6.6.6, for=1.2.3.4")], "1.2.3.4", &["10.0.0.1"]),
        // Both: the one that more proxies write.
        ("10.0.0.1", &[(FWD, "for=6.6.6.6"), (XFF, "1.2.3.4")], "1.2.3.4", &["10.0.0.1"]),
    ];
    let trusted = networks(&["10.0.0.0/8", "2001:db8:aa::/48", "192.0.2.7/32"]);
    for (peer, lines, ip, hops) in table {
        let client = address(peer.parse().unwrap(), &headers(lines), &trusted);
        assert_eq!(client.ip.to_string(), *ip, "{lines:?}");
        let found: Vec<String> = client.hops.iter().map(ToString::to_string).collect();
        assert_eq!(found, *hops, "{lines:?}");
    }
}

#[test]
fn a_list_of_a_thousand_trusted_entries_ends_at_the_cap() {
    let mut list = "1.2.3.4, ".to_owned();
    list.push_str(&vec!["10.5.5.5"; 1_000].join(", "));
    let trusted = networks(&["10.0.0.0/8"]);
    for (name, list) in [("x-forwarded-for", list.clone()), ("forwarded", list.replace("10.5", "for=10.5"))] {
        let client = address("10.0.0.1".parse().unwrap(), &headers(&[(name, &list)]), &trusted);
        assert_eq!(client.ip.to_string(), "10.5.5.5");
        assert_eq!(client.hops.len(), MOST_ENTRIES);
    }
}

#[test]
fn a_trusted_proxy_says_scheme_and_host() {
    let trusted = networks(&["10.0.0.0/8"]);
    let said = |peer: &str, lines: &[(&'static str, &str)]| {
        let client = address(peer.parse().unwrap(), &headers(lines), &trusted);
        (client.scheme, client.host)
    };
    let lines =
        [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "API.example.com:443")];
    assert_eq!(said("10.0.0.1", &lines), (Some(Scheme::Https), Some("api.example.com".to_owned())));
    assert_eq!(said("203.0.113.9", &lines), (None, None));
    let lines = [("forwarded", "for=6.6.6.6;proto=http;host=evil, for=1.2.3.4;proto=HTTPS;host=\"a.example:8443\"")];
    assert_eq!(said("10.0.0.1", &lines), (Some(Scheme::Https), Some("a.example:8443".to_owned())));
    assert_eq!(said("203.0.113.9", &lines), (None, None));
    let nonsense = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "gopher"), ("x-forwarded-host", "a@b")];
    assert_eq!(said("10.0.0.1", &nonsense), (None, None));
}

#[test]
fn blocks_contain_addresses() {
    let table = [
        ("10.0.0.0/8", "10.255.255.255", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ("::ffff:10.0.0.0/104", "10.1.2.3", true),
        ("::ffff:10.0.0.0/104", "11.1.2.3", false),
        ("192.0.2.7/32", "192.0.2.7", true),
        ("192.0.2.7/32", "192.0.2.6", false),
        ("0.0.0.0/0", "203.0.113.9", true),
        ("0.0.0.0/0", "::1", false),
        ("::/0", "2001:db8::1", true),
        ("2001:db8::/33", "2001:db8:7fff::1", true),
        ("2001:db8::/33", "2001:db8:8000::1", false),
        ("::1/128", "::1", true),
        ("::1/128", "::2", false),
    ];
    for (block, ip, inside) in table {
        assert_eq!(networks(&[block])[0].contains(ip.parse().unwrap()), inside, "{ip} in {block}");
    }
}

#[test]
fn ipv6_is_limited_by_its_64() {
    for (ip, key) in
        [("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")]
    {
        assert_eq!(limit_key(ip.parse().unwrap()).to_string(), key);
    }
}

proptest! {
    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_says(
        forwarded in "[ -~]{0,40}", xff in "[ -~]{0,40}", proto in "[ -~]{0,10}", host in "[ -~]{0,20}",
    ) {
        let peer: IpAddr = "203.0.113.9".parse().unwrap();
        let lines = [("forwarded", &*forwarded), ("x-forwarded-for", &xff), ("x-forwarded-proto", &proto), ("x-forwarded-host", &host)];
        prop_assert_eq!(address(peer, &headers(&lines), &networks(&["10.0.0.0/8"])), Client::direct(peer));
    }

    /// Whatever a client puts before what its proxy adds, the proxy's word decides.
    #[test]
    fn the_nearest_proxy_decides(before in "[ -~]{0,40}", forwarded: bool) {
        let trusted = networks(&["10.0.0.0/8"]);
        let line = if forwarded { format!("{before}, for=1.2.3.4;proto=https") } else { format!("{before}, 1.2.3.4") };
        let name = if forwarded { "forwarded" } else { "x-forwarded-for" };
        let client = address("10.0.0.1".parse().unwrap(), &headers(&[(name, &line)]), &trusted);
        prop_assert_eq!(client.ip, "1.2.3.4".parse::<IpAddr>().unwrap());
    }
}
