//! Capabilities that every plugin has, used by components.

use crate::harness::{Origin, Proxy, guest};

fn start(component: &str, config: &str) -> (Origin, Proxy) {
    let origin = Origin::fine();
    let config = format!(
        r#"
        upstream.o.endpoints = ["{}"]
        route.all = {{ path-prefix = "/", chain = ["it"], upstream = "o" }}
        [plugin.it]
        component = "{component}"
        config = {config}
        limits = {{ time = "5s", memory = "64MiB" }}
        "#,
        origin.url()
    );
    let proxy = Proxy::start(&config, &[(component, guest(component))]);
    (origin, proxy)
}

/// Without the padding and lines that a PEM file has, every byte by itself.
fn bytes(bytes: &[u8]) -> String {
    format!("{bytes:?}")
}

#[test]
fn crypto_signs_and_verifies() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let public = rcgen::PublicKeyData::subject_public_key_info(&key);
    for (megabytes, digest) in [(0, "Ok(227)"), (1, "Ok(48)"), (17, "Err(TooLarge)")] {
        let config = format!(
            "{{ private = {}, public = {}, megabytes = {megabytes} }}",
            bytes(key.serialized_der()),
            bytes(&public)
        );
        let (origin, proxy) = start("sign", &config);
        assert_eq!(proxy.get("/").status(), 200);
        let told = origin.last().header("x-signed").map(str::to_owned).expect("it tells");
        let rest =
            "Ok(true) Ok(true) true Err(InvalidKey(\"the public key is no SubjectPublicKeyInfo for this algorithm\"))";
        assert_eq!(told, format!("{digest} {rest}"));
    }
    let (origin, proxy) = start("sign", "{ private = [1, 2], public = [] }");
    assert_eq!(proxy.get("/").status(), 200);
    let told = origin.last().header("x-signed").map(str::to_owned).expect("it tells");
    assert!(told.contains("Err(InvalidKey(\"the private key is no PKCS #8 for this algorithm\"))"), "{told}");
}

#[test]
fn numbers_of_a_plugin_are_in_the_metrics() {
    let (origin, proxy) = start("series", "{ series = 2 }");
    for _ in 0..2 {
        assert_eq!(proxy.get("/").status(), 200);
    }
    assert_eq!(origin.last().header("x-counted"), Some("Ok(())"));
    let wrong = "[Some(Conflict), Some(InvalidName(\"Seen\")), Some(InvalidBuckets)]";
    assert_eq!(origin.last().header("x-wrong"), Some(wrong));
    let metrics = proxy.admin("/metrics").text();
    let memory = metrics.lines().find_map(|line| line.strip_prefix("tollgate_plugin_memory_bytes{plugin=\"it\"} "));
    let memory: usize = memory.and_then(|bytes| bytes.parse().ok()).expect("a number");
    assert!((64 << 10..64 << 20).contains(&memory) && memory.is_multiple_of(64 << 10), "whole pages: {memory}");
    for line in [
        "# HELP tollgate_plugin_counter_seen What came by.",
        "# TYPE tollgate_plugin_counter_seen counter",
        "tollgate_plugin_counter_seen_total{plugin=\"it\",path=\"/1\"} 4",
        "tollgate_plugin_gauge_level{plugin=\"it\"} -2",
        "tollgate_plugin_histogram_spread_bucket{le=\"0.5\",plugin=\"it\",of=\"all\\\"\\n\"} 2",
        "tollgate_plugin_histogram_spread_bucket{le=\"1.0\",plugin=\"it\",of=\"all\\\"\\n\"} 4",
        "tollgate_plugin_histogram_spread_bucket{le=\"+Inf\",plugin=\"it\",of=\"all\\\"\\n\"} 6",
        "tollgate_plugin_histogram_spread_sum{plugin=\"it\",of=\"all\\\"\\n\"} 8.0",
        "tollgate_plugin_metrics_dropped_total{plugin=\"it\"} 2",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
}

#[test]
fn a_plugin_has_only_so_many_series() {
    let (_origin, proxy) = start("series", "{ series = 3000 }");
    assert_eq!(proxy.get("/").status(), 200);
    let metrics = proxy.admin("/metrics").text();
    let seen = |line: &&str| line.starts_with("tollgate_plugin_counter_seen_total");
    assert_eq!(metrics.lines().filter(seen).count(), 1001);
    assert!(metrics.contains("tollgate_plugin_counter_seen_total{plugin=\"it\",path=\"other\"} 4000"), "the rest");
}
