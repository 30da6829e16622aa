mod client_certificates;
mod hostile_tls;
mod proxy_protocol;
mod unix;

use crate::harness::{Origin, Proxy, until};

/// One route for everything, and whatever else there is.
fn config(origin: &Origin, more: &str) -> String {
    format!(
        "{more}\nupstream.o.endpoints = [\"{}\"]\nroute.all = {{ path-prefix = \"/\", upstream = \"o\" }}\n",
        origin.url()
    )
}

/// Waits until so many connections were refused for this reason.
fn refused(proxy: &Proxy, listener: &str, reason: &str, count: usize) {
    let line = format!("tollgate_connections_refused_total{{listener=\"{listener}\",reason=\"{reason}\"}} {count}");
    until(&line, || proxy.admin("/metrics").text().lines().any(|found| found == line));
}
