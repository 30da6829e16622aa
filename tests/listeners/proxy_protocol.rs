//! What a proxy of bytes says of the client, and how many connections that client may have.

use super::{config, refused};
use crate::harness::{Client, Origin, Proxy};

const FROM_HERE: &str = "listener.public.proxy-protocol = [\"127.0.0.1\"]\n";

#[test]
fn the_client_is_who_the_header_says() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, FROM_HERE), &[]);
    let second = |command: u8| {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        bytes.extend_from_slice(&[command, 0x11, 0, 12, 203, 0, 113, 9, 192, 0, 2, 1, 0x30, 0x39, 1, 187]);
        bytes
    };
    for (header, client) in [
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 12345 443\r\n".to_vec(), "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 12345 443\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (second(0x21), "203.0.113.9"),
        (second(0x20), "127.0.0.1"),
    ] {
        // Byte by byte as well as at once.
        for size in [1, header.len()] {
            let mut connection = proxy.client();
            header.chunks(size).for_each(|piece| connection.send(piece));
            let spoofed = [("X-Forwarded-For", "198.51.100.1")];
            for _ in 0..2 {
                assert_eq!(connection.request("GET", "/", &spoofed, b"").status(), 200);
                assert_eq!(origin.last().header("x-forwarded-for"), Some(client));
            }
        }
    }
}

#[test]
fn what_is_no_header_is_no_connection() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, FROM_HERE), &[]);
    let bad: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PROXY TCP4 nobody 192.0.2.1 1 2\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c............",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 and what follows",
    ];
    for (count, bytes) in bad.iter().enumerate() {
        let mut client = proxy.client();
        client.send(bytes);
        assert_eq!(client.rest(), "", "not even an answer");
        refused(&proxy, "public", "proxy-protocol", count + 1);
    }
    assert!(origin.seen().is_empty());
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for_longer_than_a_handshake() {
    let origin = Origin::fine();
    let more = format!("{FROM_HERE}listener.public.limits.handshake-time = \"50ms\"\n");
    let proxy = Proxy::start(&config(&origin, &more), &[]);
    let mut client = proxy.client();
    client.send("PROXY TCP4 203.0.113.7");
    assert!(client.is_closed());
    refused(&proxy, "public", "handshake-timeout", 1);
}

#[test]
fn who_is_not_named_may_not_send_one() {
    let origin = Origin::fine();
    let proxy = Proxy::start(&config(&origin, "listener.public.proxy-protocol = [\"192.0.2.0/24\"]\n"), &[]);
    let mut client = proxy.client();
    client.send("PROXY TCP4 203.0.113.7 192.0.2.1 12345 443\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response().status(), 400);
    assert_eq!(proxy.get("/").status(), 200, "and needs none");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn one_client_cannot_take_all_places() {
    let origin = Origin::fine();
    let more = format!("{FROM_HERE}listener.public.limits.connections-per-client = 3\n");
    let proxy = Proxy::start(&config(&origin, &more), &[]);
    let connect = |client: &str| {
        let family = if client.contains(':') { "TCP6" } else { "TCP4" };
        let own = if client.contains(':') { "::1" } else { "127.0.0.1" };
        let mut connection = proxy.client();
        connection.send(format!("PROXY {family} {client} {own} 12345 443\r\n"));
        connection
    };
    let serves = |connection: &mut Client| connection.try_get("/").is_some();
    for (here, there) in [("203.0.113.7", "203.0.113.8"), ("2001:db8::7", "2001:db8:0:1::7")] {
        let mut own: Vec<Client> = (0..3).map(|_| connect(here)).collect();
        assert!(own.iter_mut().all(serves));
        assert!(!serves(&mut connect(here)), "the fourth");
        assert!(serves(&mut connect(there)), "another client has room");
        assert!(own.iter_mut().all(serves), "and nobody loses what it has");
        own.pop();
        crate::harness::until("a place is free again", || serves(&mut connect(here)));
    }
    // The other addresses of a network of IPv6 are the same client.
    let mut own: Vec<Client> = (0..3).map(|n| connect(&format!("2001:db8:0:2::{n}"))).collect();
    assert!(own.iter_mut().all(serves));
    assert!(!serves(&mut connect("2001:db8:0:2:ffff::1")));
    let metrics = proxy.admin("/metrics").text();
    assert!(
        metrics.contains("tollgate_connections_refused_total{listener=\"public\",reason=\"client-connections\"}"),
        "{metrics}"
    );
    // This machine itself is no client, and may have any number.
    let more: Vec<Client> = (0..10)
        .map(|_| {
            let mut one = proxy.client();
            one.send("PROXY UNKNOWN\r\n");
            assert!(serves(&mut one));
            one
        })
        .collect();
    drop(more);
}
